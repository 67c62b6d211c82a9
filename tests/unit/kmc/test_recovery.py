"""User and judicial recovery (CA-08, C7): the right persons over this very recovery, and any wrong ones refused."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from support.kmc import KmcLab, dual_request, make_parties
from support.officers import World, make_world
from support.pki import ACTOR, IssuedCredential
from zonegate.approval.act import ActKind, Proposal, encode_proposal
from zonegate.approval.nonces import SqliteNonceBook
from zonegate.approval.record import encode_approval
from zonegate.approval.rules import Part
from zonegate.ca.audit import Act, Result
from zonegate.ca.kmc import recovery
from zonegate.ca.kmc.client import EscrowedKey
from zonegate.ca.kmc.founding import FoundingPlan, create_centre, open_service
from zonegate.ca.kmc.messages import Purpose
from zonegate.ca.kmc.recovery import Tribunal
from zonegate.errors import ZoneGateError
from zonegate.gm import enveloped
from zonegate.gm.sm2 import PrivateKey
from zonegate.identity import Net
from zonegate.pki.certificate import Certificate, Profile
from zonegate.reasons import Reason
from zonegate.roles.store import save_roster

Signers = tuple[tuple[str, Part], ...]
USER: Signers = (("feng", Part.APPLY), ("zhao", Part.APPROVE), ("wu", Part.WITNESS))
JUDICIAL: Signers = (("feng", Part.APPLY), ("zhao", Part.APPROVE), ("qian", Part.APPROVE), ("wu", Part.APPROVE))
KIND = {Purpose.USER: ActKind.RECOVER_KEY, Purpose.JUDICIAL: ActKind.RECOVER_KEY_JUDICIAL}


@dataclass
class Case:
    """A holder whose encryption key is in use, a new signing certificate of his, and an authority's."""

    world: World
    lab: KmcLab
    signing: Certificate
    encryption: Certificate
    secret: bytes
    renewed: IssuedCredential
    authority: IssuedCredential

    def order(self, purpose: Purpose, recipient: Certificate, **changed: object) -> Proposal:
        ca = str(self.lab.parties.ca.identity)
        serial = self.encryption.serial
        fields: dict[str, object] = {
            "target": recovery.target_of(serial),
            "payload": recovery.payload_of(ca, serial, purpose, recipient),
            "view": f"恢复加密密钥 {serial:032x}",
        }
        return self.world.proposal(KIND[purpose], applicant="feng", **{**fields, **changed})

    def ask(
        self,
        purpose: Purpose,
        signers: Signers,
        recipient: Certificate,
        *,
        order: Proposal | None = None,
        serial: int | None = None,
        who: IssuedCredential | None = None,
    ) -> EscrowedKey:
        made = order or self.order(purpose, recipient)
        statements = [encode_approval(self.world.sign(made, name, None, part)) for name, part in signers]
        return self.lab.client(who).restore(
            self.encryption.serial if serial is None else serial,
            purpose,
            recipient,
            encode_proposal(made),
            statements,
        )


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Case]:
    path: Path = tmp_path_factory.mktemp("recovery")
    world = make_world(path / "world", Net.EXTRA)
    net = world.net
    parties = make_parties(net)
    nonces = SqliteNonceBook.create(path / "acts.sqlite")

    def tribunal() -> Tribunal:
        return Tribunal(net.anchors(), (net.sub_ca,), net.crls(), world.standing.standings, nonces)

    lab = KmcLab(path, net, parties, tribunal=tribunal)
    lab.unseal()
    lost = PrivateKey.generate()
    answer = net.authority.issue_dual(dual_request(net, "pop", lost), Profile.SYSTEM, lab.client(), actor=ACTOR)
    assert answer.envelope is not None
    secret = enveloped.unseal(answer.envelope, lost).to_scalar()
    renewed = net.issue(Profile.SYSTEM, "pop")
    authority = net.issue(Profile.OFFICER, "court", organ="11100000990000025W")
    net.write_crl()
    yield Case(world, lab, answer.signing[0], answer.encryption[0], secret, renewed, authority)
    lab.close()
    net.close()


@pytest.mark.req("CA-08", "RO-05")
def test_user_recovery_goes_to_the_new_signing_key(case: Case) -> None:
    given = case.ask(Purpose.USER, USER, case.renewed.certificate)
    assert enveloped.unseal(given.envelope, case.renewed.load().key).to_scalar() == case.secret
    last = case.lab.audit()[-1]
    assert (last.act, last.result) == (Act.KEY_RESTORE, Result.DONE)
    assert all(name in last.detail for name in ("feng", "zhao", "wu"))


@pytest.mark.req("CA-08", "RO-05")
def test_judicial_recovery_goes_to_the_authority(case: Case) -> None:
    given = case.ask(Purpose.JUDICIAL, JUDICIAL, case.authority.certificate)
    assert enveloped.unseal(given.envelope, case.authority.load().key).to_scalar() == case.secret
    assert case.lab.audit()[-1].act is Act.KEY_RESTORE_JUDICIAL


def test_a_key_in_history_is_recovered_too(case: Case) -> None:
    net, key = case.world.net, PrivateKey.generate()
    made = net.authority.issue_dual(dual_request(net, "pop", key), Profile.SYSTEM, case.lab.client(), actor=ACTOR)
    case.lab.centre.revoke(made.encryption[0].serial, "superseded", ca=str(case.lab.parties.ca.identity))
    held = Case(case.world, case.lab, made.signing[0], made.encryption[0], b"", case.renewed, case.authority)
    given = held.ask(Purpose.USER, USER, case.renewed.certificate)
    assert given.public_key == made.encryption[0].public_key


def _without(signers: Signers, *names: str) -> Signers:
    return tuple(item for item in signers if item[0] not in names)


TOO_FEW: dict[str, tuple[Purpose, Signers]] = {
    "user: nobody": (Purpose.USER, ()),
    "user: no operator": (Purpose.USER, _without(USER, "feng")),
    "user: no officer": (Purpose.USER, _without(USER, "zhao")),
    "user: no auditor": (Purpose.USER, _without(USER, "wu")),
    "user: only the operator": (Purpose.USER, USER[:1]),
    "user: an officer as witness": (Purpose.USER, (*USER[:2], ("qian", Part.WITNESS))),
    "user: the auditor as approver": (Purpose.USER, (USER[0], ("zhou", Part.APPROVE), USER[2])),
    "user: an RA operator applies": (Purpose.USER, (("zheng", Part.APPLY), *USER[1:])),
    "user: the system administrator": (Purpose.USER, (USER[0], ("sun", Part.APPROVE), USER[2])),
    "user: a handler": (Purpose.USER, (USER[0], ("chu", Part.APPROVE), USER[2])),
    "user: one signs twice": (Purpose.USER, (USER[0], USER[1], USER[1])),
    "judicial: a single officer": (Purpose.JUDICIAL, _without(JUDICIAL, "qian")),
    "judicial: one officer twice": (Purpose.JUDICIAL, (JUDICIAL[0], JUDICIAL[1], JUDICIAL[1], JUDICIAL[3])),
    "judicial: no auditor": (Purpose.JUDICIAL, _without(JUDICIAL, "wu")),
    "judicial: no operator": (Purpose.JUDICIAL, _without(JUDICIAL, "feng")),
    "judicial: three officers": (Purpose.JUDICIAL, (*JUDICIAL[:3], ("li", Part.APPROVE))),
    "judicial: the persons of a user recovery": (Purpose.JUDICIAL, USER),
}


@pytest.mark.req("CA-08", "RO-05")
@pytest.mark.parametrize(("purpose", "signers"), TOO_FEW.values(), ids=TOO_FEW)
def test_the_wrong_persons_recover_nothing(case: Case, purpose: Purpose, signers: Signers) -> None:
    recipient = (case.renewed if purpose is Purpose.USER else case.authority).certificate
    with pytest.raises(ZoneGateError) as refused:
        case.ask(purpose, signers, recipient)
    assert refused.value.reason.value.startswith("E_APPROVAL"), refused.value
    last = case.lab.audit()[-1]
    assert (last.result, last.reason) == (Result.REFUSED, refused.value.reason.value)


def _other_user(case: Case) -> EscrowedKey:
    other = case.world.net.issue(Profile.SYSTEM, "other").certificate
    return case.ask(Purpose.USER, USER, other)


def _judicial_to_the_holder(case: Case) -> EscrowedKey:
    return case.ask(Purpose.JUDICIAL, JUDICIAL, case.renewed.certificate)


def _user_order_for_judicial(case: Case) -> EscrowedKey:
    recipient = case.authority.certificate
    order = case.order(Purpose.USER, recipient)
    return case.ask(Purpose.JUDICIAL, USER, recipient, order=order)


def _order_for_another_recipient(case: Case) -> EscrowedKey:
    order = case.order(Purpose.USER, case.signing)
    return case.ask(Purpose.USER, USER, case.renewed.certificate, order=order)


def _order_for_another_key(case: Case) -> EscrowedKey:
    order = case.order(Purpose.USER, case.renewed.certificate, target=recovery.target_of(5))
    return case.ask(Purpose.USER, USER, case.renewed.certificate, order=order)


def _order_of_another_organ(case: Case) -> EscrowedKey:
    order = case.order(Purpose.USER, case.renewed.certificate, organ="11100000990000025W")
    return case.ask(Purpose.USER, USER, case.renewed.certificate, order=order)


def _expired(case: Case) -> EscrowedKey:
    now = case.world.net.clock.now()
    order = case.order(Purpose.USER, case.renewed.certificate, not_after=now + timedelta(seconds=1))
    statements = [encode_approval(case.world.sign(order, name, None, part)) for name, part in USER]
    late = order.act.not_before + timedelta(minutes=1)
    order = case.order(Purpose.USER, case.renewed.certificate, not_after=late)
    raw = encode_proposal(order)
    return case.lab.client().restore(case.encryption.serial, Purpose.USER, case.renewed.certificate, raw, statements)


def _used_before(case: Case) -> EscrowedKey:
    order = case.order(Purpose.USER, case.renewed.certificate)
    case.ask(Purpose.USER, USER, case.renewed.certificate, order=order)
    return case.ask(Purpose.USER, USER, case.renewed.certificate, order=order)


def _signing_serial(case: Case) -> EscrowedKey:
    return case.ask(Purpose.USER, USER, case.renewed.certificate, serial=case.signing.serial)


def _another_cas(case: Case) -> EscrowedKey:
    return case.ask(Purpose.USER, USER, case.renewed.certificate, who=case.lab.parties.other_ca)


def _to_an_encryption_certificate(case: Case) -> EscrowedKey:
    return case.ask(Purpose.USER, USER, case.encryption)


def _to_a_revoked_certificate(case: Case) -> EscrowedKey:
    net = case.world.net
    gone = net.issue(Profile.SYSTEM, "pop")
    net.revoke(gone.serial)
    net.write_crl()
    return case.ask(Purpose.USER, USER, gone.certificate)


REFUSED: dict[str, tuple[Callable[[Case], EscrowedKey], Reason]] = {
    "CA-05 a signing key is never there": (_signing_serial, Reason.E_NOT_ESCROWED),
    "another CA's key": (_another_cas, Reason.E_NOT_ESCROWED),
    "user: to another user": (_other_user, Reason.E_RECOVERY),
    "judicial: to the holder": (_judicial_to_the_holder, Reason.E_RECOVERY),
    "judicial: by an order for a user": (_user_order_for_judicial, Reason.E_RECOVERY),
    "signed for another recipient": (_order_for_another_recipient, Reason.E_APPROVAL_PAYLOAD),
    "signed for another key": (_order_for_another_key, Reason.E_RECOVERY),
    "signed for another organ": (_order_of_another_organ, Reason.E_RECOVERY),
    "expired": (_expired, Reason.E_APPROVAL_EXPIRED),
    "used before": (_used_before, Reason.E_APPROVAL_REPLAY),
    "to an encryption certificate": (_to_an_encryption_certificate, Reason.E_RECOVERY),
    "to a revoked certificate": (_to_a_revoked_certificate, Reason.E_CERT_REVOKED),
}


@pytest.mark.req("CA-05", "CA-08")
@pytest.mark.parametrize(("ask", "reason"), REFUSED.values(), ids=REFUSED)
def test_refused(case: Case, ask: Callable[[Case], EscrowedKey], reason: Reason) -> None:
    with pytest.raises(ZoneGateError) as refused:
        ask(case)
    assert refused.value.reason is reason, refused.value
    assert case.lab.audit()[-1].result is Result.REFUSED


def test_a_centre_without_a_roster_recovers_nothing(case: Case) -> None:
    tribunal, case.lab.tribunal = case.lab.tribunal, None
    case.lab.service = case.lab.serving(case.lab.centre)
    try:
        with pytest.raises(ZoneGateError, match="roster") as refused:
            case.ask(Purpose.USER, USER, case.renewed.certificate)
    finally:
        case.lab.tribunal = tribunal
        case.lab.service = case.lab.serving(case.lab.centre)
    assert refused.value.reason is Reason.E_RECOVERY


@pytest.mark.req("CA-08")
def test_a_centre_opened_from_its_directory_reads_roster_and_lists(case: Case, tmp_path: Path) -> None:
    net, parties = case.world.net, case.lab.parties
    plan = FoundingPlan(
        net=Net.EXTRA,
        root=net.root_path,
        chain=parties.centre.cert_path,
        key=parties.centre.key_path,
        secret=parties.centre.secret_path,
        cas=(parties.ca.cert_path,),
        holders=("甲", "乙"),
        threshold=2,
    )
    shares = create_centre(tmp_path / "kmc", plan, clock=net.clock, actor=ACTOR)
    save_roster(tmp_path, case.world.standing)
    settings = tmp_path / "kmc" / "kmc.toml"
    lists = ", ".join(f'"{path}"' for path in net.crl_paths)
    text = settings.read_text().replace("crls = []", f'crls = [{lists}]\nroster = "{tmp_path}"')
    settings.write_text(text.replace("target = 100", "target = 20"))
    service = open_service(tmp_path / "kmc", clock=net.clock)
    for share in shares:
        service.centre.give_share(share.read_text(), actor=ACTOR)
    client = case.lab.client(exchange=service.answer)
    key = PrivateKey.generate()
    made = net.authority.issue_dual(dual_request(net, "pop", key), Profile.SYSTEM, client, actor=ACTOR)
    assert made.envelope is not None
    held = Case(case.world, case.lab, made.signing[0], made.encryption[0], b"", case.renewed, case.authority)
    order = held.order(Purpose.USER, case.renewed.certificate)
    statements = [encode_approval(case.world.sign(order, name, None, part)) for name, part in USER]
    given = client.restore(
        made.encryption[0].serial, Purpose.USER, case.renewed.certificate, encode_proposal(order), statements
    )
    recovered = enveloped.unseal(given.envelope, case.renewed.load().key)
    assert recovered.to_scalar() == enveloped.unseal(made.envelope, key).to_scalar()
    service.centre.close()


@pytest.mark.req("CA-08")
def test_a_sealed_centre_spends_no_act(case: Case) -> None:
    order = case.order(Purpose.USER, case.renewed.certificate)
    case.lab.centre.seal(actor=ACTOR)
    with pytest.raises(ZoneGateError) as refused:
        case.ask(Purpose.USER, USER, case.renewed.certificate, order=order)
    assert refused.value.reason is Reason.E_KMC_SEALED
    case.lab.unseal()
    assert case.ask(Purpose.USER, USER, case.renewed.certificate, order=order).public_key

"""Dual certificates (CE-05, CA-04): issued together or not at all, whatever fails between the steps."""

import sqlite3
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from support.clock import FakeClock
from support.kmc import KmcLab, Parties, dual_request
from support.pki import ACTOR, TestNet
from zonegate.ca.audit import Result
from zonegate.ca.authority import Term
from zonegate.ca.ceremony import open_ca
from zonegate.ca.config import KmcLink
from zonegate.ca.kmc.client import EscrowedKey
from zonegate.ca.kmc.lifecycle import KeyState
from zonegate.ca.kmc.link import open_link
from zonegate.ca.ledger import RESERVATION_HOLD
from zonegate.ca.profile import CA_SIGNING, ENCRYPTION, ENCRYPTION_OF, RULES, SIGNING, ProfileRules
from zonegate.ca.subscriber import accept_response
from zonegate.ca.weakkeys import check_key_strength
from zonegate.errors import ZoneGateError
from zonegate.gateway.tls.check import check_leaf
from zonegate.gm import enveloped
from zonegate.gm.sm2 import PrivateKey, PublicKey
from zonegate.identity import Identity
from zonegate.pki.certificate import Certificate, Profile
from zonegate.pki.crl import RevocationReason
from zonegate.pki.csr_response import build, parse
from zonegate.reasons import Reason


class CrashError(BaseException):
    """The power goes."""


class Breaking:
    """A key source that dies, or refuses, before or after the centre has acted."""

    def __init__(
        self, inner: object, *, before: BaseException | None = None, after: BaseException | None = None
    ) -> None:
        self.inner = inner
        self.before = before
        self.after = after
        self.asked: list[int] = []

    def apply(self, serial: int, profile: Profile, holder: Identity, recipient: PublicKey) -> EscrowedKey:
        self.asked.append(serial)
        if self.before is not None:
            raise self.before
        given: EscrowedKey = self.inner.apply(serial, profile, holder, recipient)  # type: ignore[attr-defined]
        if self.after is not None:
            raise self.after
        return given

    def revoke(self, serial: int, reason: str) -> None:
        if isinstance(self.before, ZoneGateError):
            raise self.before
        self.inner.revoke(serial, reason)  # type: ignore[attr-defined]


@pytest.fixture
def own_lab(tmp_path: Path, own_net: TestNet, parties: Parties) -> Iterator[KmcLab]:
    made = KmcLab(tmp_path, own_net, parties)
    made.unseal()
    yield made
    made.close()


@pytest.mark.req("CE-05", "CA-04", "CA-06")
@pytest.mark.parametrize("profile", ENCRYPTION_OF, ids=str)
def test_one_request_two_certificates_one_envelope(own_lab: KmcLab, profile: Profile) -> None:
    net, key = own_lab.net, PrivateKey.generate()
    response = net.authority.issue_dual(dual_request(net, "pop", key), profile, own_lab.client(), actor=ACTOR)
    accepted = accept_response(build(response), key, net.root, now=net.clock.now())
    signing, encryption = accepted.pair.signing, accepted.pair.encryption
    assert (signing.profile, encryption.profile) == (profile, ENCRYPTION_OF[profile])
    assert (signing.key_usage, encryption.key_usage) == (SIGNING, ENCRYPTION)
    assert signing.identity == encryption.identity == net.identity("pop")
    assert (signing.not_before, signing.not_after) == (encryption.not_before, encryption.not_after)
    assert signing.public_key == key.public_key
    with pytest.raises(ZoneGateError, match="encryption certificate") as refused:
        check_leaf(encryption)
    assert refused.value.reason is Reason.E_CERT_USAGE, "TLS refuses the wrong one"
    opened = accepted.pair.encryption_key
    assert opened.public_key == encryption.public_key != signing.public_key
    assert opened.decrypt(encryption.public_key.encrypt(b"dual")) == b"dual"
    assert own_lab.centre.store.find(str(own_lab.parties.ca.identity), encryption.serial).owner is not None
    states = [net.authority.ledger.find(item.serial).state for item in (signing, encryption)]
    assert states == ["issued", "issued"]


@pytest.mark.req("CA-04", "CA-05")
def test_ledger_and_files_of_the_ca_hold_no_private_key(own_lab: KmcLab) -> None:
    net = own_lab.net
    for number in range(4):
        key = PrivateKey.generate()
        response = net.authority.issue_dual(
            dual_request(net, f"s{number}", key), Profile.SYSTEM, own_lab.client(), actor=ACTOR
        )
        assert response.envelope is not None
        secret = enveloped.unseal(response.envelope, key).to_scalar()
        files = b"".join(path.read_bytes() for path in net.ca_path.rglob("*") if path.is_file())
        connection = sqlite3.connect(net.ca_path / "ledger.sqlite")
        dump = "\n".join(connection.iterdump()).lower()
        connection.close()
        assert response.encryption[0].public_key.point in files, "the search finds what is there"
        for needle in (secret, key.to_scalar(), response.envelope):
            assert needle not in files
            assert needle.hex() not in dump
        assert key.to_scalar() not in own_lab.path.read_bytes(), "the centre never sees the signing key"


def _issue(lab: KmcLab, source: object, key: PrivateKey, profile: Profile = Profile.SYSTEM) -> Certificate:
    answer = lab.net.authority.issue_dual(
        dual_request(lab.net, "pop", key),
        profile,
        source,  # type: ignore[arg-type] # the fakes of this file
        actor=ACTOR,
    )
    return answer.encryption[0]


@pytest.mark.req("CA-01")
def test_without_the_centre_signing_certificates_issue_and_dual_ones_fail_clearly(own_lab: KmcLab) -> None:
    net, key = own_lab.net, PrivateKey.generate()
    before = len(net.authority.ledger.rows())
    gone = ZoneGateError(Reason.E_KMC, "key centre: kmc.sock: no such file; the centre does not answer")
    with pytest.raises(ZoneGateError) as refused:
        _issue(own_lab, Breaking(own_lab.client(), before=gone), key)
    assert refused.value.reason is Reason.E_KMC
    assert len(net.authority.ledger.rows()) == before, "nothing is half-issued"
    last = net.authority.ledger.audit_rows()[-1].entry
    assert (last.result, last.reason) == (Result.REFUSED, "E_KMC")
    request = dual_request(net, "pop", key)
    assert net.authority.issue(request, Profile.SYSTEM, actor=ACTOR).public_key == key.public_key


@pytest.mark.req("CA-01")
def test_a_sealed_centre_names_its_holders_to_the_ca(own_lab: KmcLab) -> None:
    own_lab.centre.seal(actor=ACTOR)
    with pytest.raises(ZoneGateError, match="3 more of") as refused:
        _issue(own_lab, own_lab.client(), PrivateKey.generate())
    assert refused.value.reason is Reason.E_KMC_SEALED
    own_lab.unseal()
    _issue(own_lab, own_lab.client(), PrivateKey.generate())


def _counts(lab: KmcLab) -> tuple[int, int]:
    counts = lab.centre.store.counts()
    return counts[KeyState.IN_USE], counts[KeyState.HISTORY]


def test_a_key_whose_answer_was_lost_is_given_back(own_lab: KmcLab) -> None:
    lost = ZoneGateError(Reason.E_KMC, "key centre: no answer in time")
    key = PrivateKey.generate()
    with pytest.raises(ZoneGateError):
        _issue(own_lab, Breaking(own_lab.client(), after=lost), key)
    assert _counts(own_lab) == (0, 1)
    assert own_lab.net.authority.ledger.leaving_keys(now=own_lab.clock.now() + timedelta(days=1)) == ()
    _issue(own_lab, own_lab.client(), key)
    assert _counts(own_lab) == (1, 1)


CRASHES: dict[str, Callable[[object], Breaking]] = {
    "before the centre was asked": lambda client: Breaking(client, before=CrashError()),
    "after the centre has given": lambda client: Breaking(client, after=CrashError()),
}


@pytest.mark.req("CA-15")
@pytest.mark.parametrize("breaking", CRASHES.values(), ids=CRASHES)
def test_a_crash_leaves_nothing_issued_and_its_key_is_never_used(
    own_lab: KmcLab, breaking: Callable[[object], Breaking]
) -> None:
    net, key = own_lab.net, PrivateKey.generate()
    rows = net.authority.ledger.rows()
    source = breaking(own_lab.client())
    with pytest.raises(CrashError):
        _issue(own_lab, source, key)
    assert net.authority.ledger.rows() == rows
    now = own_lab.clock.now()
    assert net.authority.ledger.leaving_keys(now=now) == (), "another process may be about to use it"
    assert net.authority.ledger.leaving_keys(now=now + RESERVATION_HOLD) == tuple(source.asked)
    later = open_ca(net.ca_path, clock=FakeClock(now + RESERVATION_HOLD))
    assert later.settle_keys(own_lab.client()) == 0
    assert later.ledger.leaving_keys(now=now + RESERVATION_HOLD) == ()
    later.close()
    assert _counts(own_lab)[0] == 0
    made = _issue(own_lab, own_lab.client(), key)
    archived = {row.public_key for row in own_lab.centre.store.rows(KeyState.HISTORY)}
    assert made.public_key not in archived


class CrashingStore:
    """The CA's keys, dying at the n-th signature."""

    def __init__(self, inner: object, alive: int) -> None:
        self._inner = inner
        self._alive = alive

    def sign(self, key: Profile, message: bytes, *, signer_id: bytes) -> bytes:
        if not self._alive:
            raise CrashError
        self._alive -= 1
        signature: bytes = self._inner.sign(key, message, signer_id=signer_id)  # type: ignore[attr-defined]
        return signature


@pytest.mark.req("CA-15")
@pytest.mark.parametrize("alive", [0, 1], ids=["before the first signature", "between the two signatures"])
def test_a_crash_while_signing_records_neither(own_lab: KmcLab, alive: int) -> None:
    net, key = own_lab.net, PrivateKey.generate()
    cycle = net.authority._cycle
    cycle._keystore = CrashingStore(cycle._keystore, alive)  # type: ignore[assignment] # dies where a device may
    with pytest.raises(CrashError):
        _issue(own_lab, own_lab.client(), key)
    left = [row.reservation.profile for row in net.authority.ledger.rows() if row.state == "reserved"]
    assert sorted(left) == [Profile.SYSTEM, Profile.SYSTEM_ENCRYPTION]
    later = open_ca(net.ca_path, clock=FakeClock(own_lab.clock.now() + RESERVATION_HOLD))
    assert later.settle_keys(own_lab.client()) == 0
    later.close()
    assert _counts(own_lab) == (0, 1)


@pytest.mark.req("CE-05")
def test_two_cas_at_once_never_share_a_key(own_lab: KmcLab) -> None:
    points = []
    for number, who in enumerate((own_lab.parties.ca, own_lab.parties.other_ca) * 4):
        made = _issue(own_lab, own_lab.client(who), PrivateKey.generate(), list(ENCRYPTION_OF)[number % 3])
        points.append(made.public_key.point)
    assert len(set(points)) == 8


@pytest.mark.req("CA-07")
def test_revoking_the_encryption_certificate_archives_its_key(own_lab: KmcLab) -> None:
    authority, client = own_lab.net.authority, own_lab.client()
    made = _issue(own_lab, client, PrivateKey.generate())
    authority.revoke(made.serial, RevocationReason.CERTIFICATE_HOLD, actor=ACTOR)
    assert authority.settle_keys(client) == 0
    assert _counts(own_lab) == (1, 0), "a hold is no end"
    authority.revoke(made.serial, RevocationReason.SUPERSEDED, actor=ACTOR)
    gone = Breaking(client, before=ZoneGateError(Reason.E_KMC, "gone"))
    assert authority.settle_keys(gone) == 1
    assert authority.settle_keys(client) == 0
    assert _counts(own_lab) == (0, 1)


def _bad_key(point: PublicKey) -> Callable[[KmcLab], object]:
    class Bad:
        def __init__(self, inner: object) -> None:
            self.inner = inner

        def apply(self, serial: int, profile: Profile, holder: Identity, recipient: PublicKey) -> EscrowedKey:
            given: EscrowedKey = self.inner.apply(serial, profile, holder, recipient)  # type: ignore[attr-defined]
            return EscrowedKey(point, given.envelope)

        def revoke(self, serial: int, reason: str) -> None:
            self.inner.revoke(serial, reason)  # type: ignore[attr-defined]

    return lambda lab: Bad(lab.client())


def test_an_envelope_of_another_key_than_the_centre_names_is_not_issued_over(own_lab: KmcLab) -> None:
    before = [row.state for row in own_lab.net.authority.ledger.rows()].count("issued")
    with pytest.raises(ZoneGateError) as refused:
        _issue(own_lab, _bad_key(PrivateKey.generate().public_key)(own_lab), PrivateKey.generate())
    assert refused.value.reason is Reason.E_KEY
    weak = PrivateKey.from_scalar(1).public_key
    with pytest.raises(ZoneGateError) as published:
        check_key_strength(weak)
    with pytest.raises(ZoneGateError) as refused:
        _issue(own_lab, _bad_key(weak)(own_lab), PrivateKey.generate())
    assert refused.value.reason is published.value.reason
    assert [row.state for row in own_lab.net.authority.ledger.rows()].count("issued") == before
    assert _counts(own_lab) == (0, 2)


@pytest.mark.req("CE-05")
def test_what_is_not_dual(own_lab: KmcLab) -> None:
    net, client = own_lab.net, own_lab.client()
    refusals = {
        Profile.EVIDENCE: Reason.E_PROFILE,
        Profile.SUB_CA: Reason.E_PROFILE,
        Profile.SYSTEM_ENCRYPTION: Reason.E_PROFILE,
    }
    for profile, reason in refusals.items():
        with pytest.raises(ZoneGateError) as refused:
            _issue(own_lab, client, PrivateKey.generate(), profile)
        assert refused.value.reason is reason
    key = PrivateKey.generate()
    with pytest.raises(ZoneGateError) as refused:
        net.authority.issue(dual_request(net, "pop", key), Profile.SYSTEM_ENCRYPTION, actor=ACTOR)
    assert refused.value.reason is Reason.E_PROFILE
    _issue(own_lab, client, key)
    with pytest.raises(ZoneGateError) as refused:
        _issue(own_lab, client, key)
    assert refused.value.reason is Reason.E_DUPLICATE_KEY
    assert _counts(own_lab) == (1, 0), "the centre was not even asked"
    too_long = Term(not_after=own_lab.clock.now() + timedelta(days=4000))
    with pytest.raises(ZoneGateError) as refused:
        net.authority.issue_dual(
            dual_request(net, "x", PrivateKey.generate()), Profile.SYSTEM, client, actor=ACTOR, term=too_long
        )
    assert refused.value.reason is Reason.E_VALIDITY


@pytest.mark.req("CE-05")
@pytest.mark.parametrize("usage", [SIGNING | ENCRYPTION, CA_SIGNING | ENCRYPTION, SIGNING | {"keyAgreement"}])
def test_a_combined_profile_cannot_be_made(usage: frozenset[str]) -> None:
    with pytest.raises(ValueError, match="signs and encrypts"):
        ProfileRules(Profile.SYSTEM, Profile.SUB_CA, 3, usage, None, "双用途")


@pytest.mark.req("CE-05")
def test_rules_of_the_encryption_profiles() -> None:
    assert {RULES[item].key_usage for item in ENCRYPTION_OF.values()} == {ENCRYPTION}
    assert not ENCRYPTION & {"digitalSignature", "nonRepudiation"}
    for signing, encryption in ENCRYPTION_OF.items():
        assert RULES[signing].max_years == RULES[encryption].max_years


@pytest.mark.req("CA-06")
def test_the_wrong_key_opens_nothing(own_lab: KmcLab) -> None:
    net, key = own_lab.net, PrivateKey.generate()
    response = net.authority.issue_dual(dual_request(net, "pop", key), Profile.OFFICER, own_lab.client(), actor=ACTOR)
    with pytest.raises(ZoneGateError) as refused:
        accept_response(build(response), PrivateKey.generate(), net.root, now=net.clock.now())
    assert refused.value.reason is Reason.E_KEY
    with pytest.raises(ZoneGateError) as refused:
        accept_response(build(response), key, net.sub_ca, now=net.clock.now())
    assert refused.value.reason in (Reason.E_TRUST_DOMAIN, Reason.E_CERT_CHAIN)
    assert parse(build(response)).envelope == response.envelope


def test_the_link_of_a_ca_without_a_centre(own_net: TestNet, parties: Parties) -> None:
    settings = own_net.authority.settings
    with pytest.raises(ZoneGateError, match="names no key centre") as refused:
        open_link(settings, own_net.root, own_net.clock)
    assert refused.value.reason is Reason.E_CONFIG
    link = KmcLink(
        socket=own_net.path / "none.sock",
        centre=parties.centre.cert_path,
        chain=parties.ca.cert_path,
        key=parties.ca.key_path,
        secret=parties.ca.secret_path,
    )
    client = open_link(settings.model_copy(update={"kmc": link}), own_net.root, own_net.clock)
    with pytest.raises(ZoneGateError, match="does not answer") as refused:
        client.revoke(1, "test")
    assert refused.value.reason is Reason.E_KMC

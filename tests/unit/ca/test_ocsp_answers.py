"""OCSP: what the responder answers, what its cache does, what a verifier accepts (RV-03, RFC 6960, GB/T 19713)."""

import shutil
import subprocess
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509 import ocsp
from gmssl import sm2 as gmssl_sm2
from hypothesis import given, settings
from hypothesis import strategies as st

from support.clock import FakeClock
from support.contract import value_or_refusal
from support.pki import TestNet
from support.status import LIFETIME, Desk, forge_answer, make_desk, scope_of, second_implementation_accepts
from zonegate.ca.ocsp import Fresh, NonceRule, Presigned, Refusal, SerialStatus, classify, plan_response
from zonegate.ca.responder import Limits
from zonegate.errors import ZoneGateError
from zonegate.gm import der, sm2, sm3
from zonegate.pki.certificate import Profile
from zonegate.pki.crl import Revocation, RevocationReason
from zonegate.pki.ocsp import SLOW_CLOCK, check_ocsp
from zonegate.pki.ocsp_message import (
    CertState,
    OcspError,
    SingleAnswer,
    encode_error,
    encode_response,
    parse_response,
)
from zonegate.pki.ocsp_request import CertId, encode_request, make_cert_id, parse_request
from zonegate.pki.oids import OID_OCSP_NONCE, OID_SHA1, OID_SM3
from zonegate.reasons import Reason

SHA256 = "2.16.840.1.101.3.4.2.1"
NONCE = bytes(range(32))
OPENSSL = shutil.which("openssl")


@pytest.fixture
def desk(own_net: TestNet) -> Iterator[Desk]:
    made = make_desk(own_net, own_net.issue(Profile.OCSP, "ocsp"))
    yield made
    made.close()


@pytest.fixture
def subject(own_net: TestNet):
    return own_net.issue(Profile.SYSTEM, "population").certificate


def _ask(desk: Desk, *ids: CertId, nonce: bytes | None = None) -> bytes:
    return desk.responder.answer(encode_request(ids, nonce)).body


def _clock(net: TestNet) -> FakeClock:
    assert isinstance(net.clock, FakeClock)
    return net.clock


# --- as other programs read it


STATES = {
    "good": (None, ocsp.OCSPCertStatus.GOOD, None),
    "key lost": (RevocationReason.KEY_COMPROMISE, ocsp.OCSPCertStatus.REVOKED, x509.ReasonFlags.key_compromise),
    "on hold": (RevocationReason.CERTIFICATE_HOLD, ocsp.OCSPCertStatus.REVOKED, x509.ReasonFlags.certificate_hold),
    "no reason": (RevocationReason.UNSPECIFIED, ocsp.OCSPCertStatus.REVOKED, None),
}


@pytest.mark.req("RV-03", "CR-06")
@pytest.mark.parametrize("algorithm", [OID_SM3, OID_SHA1], ids=["SM3", "SHA-1"])
@pytest.mark.parametrize(("reason", "state", "flag"), STATES.values(), ids=STATES)
def test_cryptography_reads_the_answer(desk: Desk, subject, algorithm: str, reason, state, flag) -> None:
    if reason is not None:
        desk.net.revoke(subject.serial, reason)
    wanted = make_cert_id(subject.serial, desk.net.sub_ca, algorithm)
    body = _ask(desk, wanted, nonce=NONCE)
    read = ocsp.load_der_ocsp_response(body)
    now = desk.net.clock.now()
    assert read.response_status is ocsp.OCSPResponseStatus.SUCCESSFUL
    assert read.certificate_status is state
    assert read.serial_number == subject.serial
    assert (read.issuer_name_hash, read.issuer_key_hash) == (wanted.name_hash, wanted.key_hash)
    assert read.this_update_utc == read.produced_at_utc == now
    assert read.next_update_utc == now + LIFETIME
    assert read.revocation_reason is flag
    assert read.revocation_time_utc == (None if reason is None else now)
    assert read.extensions.get_extension_for_class(x509.OCSPNonce).value.nonce == NONCE
    assert read.responder_key_hash == _sha1(desk.issued.certificate.public_key.point)
    assert [one.serial_number for one in read.certificates] == [desk.issued.serial]
    if algorithm == OID_SHA1:
        assert isinstance(read.hash_algorithm, hashes.SHA1)


def _sha1(content: bytes) -> bytes:
    digest = hashes.Hash(hashes.SHA1())  # noqa: S303 - RFC 6960's KeyHash
    digest.update(content)
    return digest.finalize()


@pytest.mark.req("RV-03")
def test_signature_by_two_other_implementations(desk: Desk, subject) -> None:
    body = _ask(desk, make_cert_id(subject.serial, desk.net.sub_ca))
    read = ocsp.load_der_ocsp_response(body)
    assert second_implementation_accepts(desk.issued.certificate, read.signature, read.tbs_response_bytes)
    r, s = der.decode_signature(read.signature)
    point = desk.issued.certificate.public_key.point[1:].hex()
    other = gmssl_sm2.CryptSM2(private_key="", public_key=point, mode=1, asn1=False)
    other.public_key = point
    z = sm2.z_value(desk.issued.certificate.public_key, sm2.CERT_ID)
    assert other.verify(f"{r:064x}{s:064x}", sm3.digest(z + read.tbs_response_bytes))


@pytest.mark.req("RV-03")
@pytest.mark.skipif(OPENSSL is None, reason="openssl is not there")
def test_openssl_asks_and_reads_the_answer(desk: Desk, subject, tmp_path: Path) -> None:
    net = desk.net
    net.revoke(subject.serial)
    leaf, issuer, query, answer = (tmp_path / name for name in ("leaf.pem", "sub.pem", "q.der", "a.der"))
    leaf.write_bytes(subject.pem)
    issuer.write_bytes(net.sub_ca.pem)
    for algorithm in ("-sm3", "-sha1"):
        command = ["openssl", "ocsp", algorithm, "-issuer", str(issuer), "-cert", str(leaf), "-reqout", str(query)]
        subprocess.run(command, check=True, capture_output=True)
        answer.write_bytes(desk.responder.answer(query.read_bytes()).body)
        # Its signature check takes an empty signer id (crypto-facts 2): it reads, others verify.
        command = ["openssl", "ocsp", "-respin", str(answer), "-text", "-noverify"]
        text = subprocess.run(command, check=True, capture_output=True).stdout.decode()
        for words in ("OCSP Response Status: successful", "Cert Status: revoked", "keyCompromise", "SM2-with-SM3"):
            assert words in text
        assert "Nonce" in text


@pytest.mark.req("RV-03")
def test_a_request_of_cryptography_is_understood(desk: Desk, subject) -> None:
    ca = make_cert_id(subject.serial, desk.net.sub_ca, OID_SHA1)
    builder = ocsp.OCSPRequestBuilder().add_certificate_by_hash(
        ca.name_hash,
        ca.key_hash,
        subject.serial,
        hashes.SHA1(),  # noqa: S303 - the hash of a CertID
    )
    made = builder.add_extension(x509.OCSPNonce(NONCE), critical=False).build()
    answer = desk.responder.answer(made.public_bytes(_der())).body
    check_ocsp(answer, subject, desk.net.sub_ca, desk.net.clock.now(), NONCE)


def _der():
    from cryptography.hazmat.primitives.serialization import Encoding

    return Encoding.DER


# --- what is asked, and what the plan is


def _request(cert_id: CertId, **members: bytes) -> bytes:
    one = der.sequence(cert_id.encoded, members.get("single", b""))
    body = der.sequence(members.get("before", b""), der.sequence(one), members.get("after", b""))
    return der.sequence(body, members.get("signature", b""))


def _extensions(*parts: bytes) -> bytes:
    return der.tlv(der.context(2), der.sequence(*parts))


def _extension(oid: str, value: bytes, critical: bytes = b"") -> bytes:
    return der.sequence(der.oid(oid), critical, der.octet_string(value))


def _nonce(size: int) -> bytes:
    return _extension(OID_OCSP_NONCE, der.octet_string(bytes(size)))


CRITICAL = b"\x01\x01\xff"
MALFORMED = {
    "nothing": lambda _id: b"",
    "not DER": lambda _id: b"\x30\x80\x00\x00",
    "9000 bytes": lambda _id: bytes(9000),
    "trailing byte": lambda good: _request(good) + b"\0",
    "empty list": lambda _id: der.sequence(der.sequence(der.sequence())),
    "version 1 spelt out": lambda good: _request(good, before=der.tlv(der.context(0), der.integer(0))),
    "version 2": lambda good: _request(good, before=der.tlv(der.context(0), der.integer(1))),
    "empty nonce": lambda good: _request(good, after=_extensions(_nonce(0))),
    "nonce of 33 bytes": lambda good: _request(good, after=_extensions(_nonce(33))),
    "nonce not wrapped": lambda good: _request(good, after=_extensions(_extension(OID_OCSP_NONCE, b"abc"))),
    "two nonces": lambda good: _request(good, after=_extensions(_nonce(1), _nonce(1))),
    "no extension at all": lambda good: _request(good, after=_extensions()),
    "critical and unknown": lambda good: _request(good, after=_extensions(_extension("1.2.3", b"\5\0", CRITICAL))),
    "critical FALSE": lambda good: _request(good, after=_extensions(_extension("1.2.3", b"\5\0", b"\1\1\0"))),
    "critical about one": lambda good: _request(
        good, single=der.tlv(der.context(0), der.sequence(_extension("1.2.3", b"\5\0", CRITICAL)))
    ),
    "hash of the wrong length": lambda good: encode_request((_id(OID_SM3, good.name_hash[:20], good.key_hash),)),
    "hash with parameters": lambda good: _request(
        CertId("", b"", b"", 1, good.encoded.replace(b"\x05\x00", b"\x04\x00"))
    ),
    "serial negative": lambda good: _request(CertId("", b"", b"", 1, _with_serial(good, b"\x02\x01\x80"))),
    "five certificates": lambda good: encode_request((good,) * 5),
    "33 certificates": lambda good: encode_request((good,) * 33),
    "signature of nothing": lambda good: _request(good, signature=der.tlv(der.context(0), der.sequence())),
}


def _id(algorithm: str, name_hash: bytes, key_hash: bytes, serial: int = 5) -> CertId:
    encoded = der.sequence(
        der.sequence(der.oid(algorithm)), der.octet_string(name_hash), der.octet_string(key_hash), der.integer(serial)
    )
    return CertId(algorithm, name_hash, key_hash, serial, encoded)


def _with_serial(good: CertId, serial: bytes) -> bytes:
    algorithm = der.sequence(der.oid(OID_SM3))
    return der.sequence(algorithm, der.octet_string(good.name_hash), der.octet_string(good.key_hash), serial)


@pytest.mark.req("RV-03")
@pytest.mark.parametrize("make", MALFORMED.values(), ids=MALFORMED)
def test_malformed_request_has_one_named_error(extra: TestNet, make) -> None:
    asked = classify(make(make_cert_id(5, extra.sub_ca)), scope_of(extra))
    assert isinstance(asked, Refusal)
    assert asked.error is OcspError.MALFORMED_REQUEST
    assert asked.detail


@pytest.mark.req("RV-03")
@pytest.mark.parametrize("which", ["another issuer", "SHA-256", "half another issuer"])
def test_what_the_responder_may_not_answer_is_unauthorized(extra: TestNet, which: str) -> None:
    ours, root = make_cert_id(5, extra.sub_ca), make_cert_id(5, extra.root)
    made = {
        "another issuer": root,
        "SHA-256": _id(SHA256, bytes(32), bytes(32)),
        "half another issuer": _id(OID_SM3, ours.name_hash, root.key_hash),
    }[which]
    asked = classify(encode_request((made,)), scope_of(extra))
    assert isinstance(asked, Refusal)
    assert asked.error is OcspError.UNAUTHORIZED


def test_what_is_accepted_beside_the_plain_request(extra: TestNet) -> None:
    good = make_cert_id(5, extra.sub_ca)
    scope = scope_of(extra)
    absent = _id(OID_SM3, good.name_hash, good.key_hash)
    signed = der.tlv(der.context(0), der.sequence(der.sequence(der.oid("1.2.3")), der.bit_string(b"x")))
    unknown = _extensions(_extension("1.2.3", b"\x05\x00"))
    for request in (
        encode_request((absent,)),
        _request(good, signature=signed),
        _request(good, after=unknown),
        _request(good, before=der.tlv(der.context(1), der.tlv(der.context_primitive(6), b"urn:a"))),
    ):
        assert isinstance(classify(request, scope), Presigned)
    assert classify(encode_request((good,), b"n"), scope) == Fresh((good,), b"n")
    ignoring = scope_of(extra, nonces=NonceRule.IGNORE)
    assert classify(encode_request((good,), b"n"), ignoring) == Presigned(good)
    assert isinstance(classify(encode_request((good, good)), ignoring), Fresh)


class _View:
    def __init__(self, **states: SerialStatus) -> None:
        self._states = states

    def status(self, serial: int) -> SerialStatus:
        return self._states.get(f"s{serial}", SerialStatus(CertState.UNKNOWN))


@pytest.mark.req("RV-03")
def test_the_plan_is_a_function_of_view_request_and_time(extra: TestNet) -> None:
    now = extra.clock.now()
    signer = extra.issue(Profile.OCSP, "planned").certificate
    held = Revocation(RevocationReason.CERTIFICATE_HOLD, now - timedelta(days=1))
    view = _View(s1=SerialStatus(CertState.GOOD), s2=SerialStatus(CertState.REVOKED, held))
    ids = tuple(make_cert_id(serial, extra.sub_ca) for serial in (1, 2, 3))
    request = encode_request(ids, b"n")
    plan = plan_response(view, request, now, scope=scope_of(extra), signer=signer)
    assert not isinstance(plan, Refusal)
    assert [(one.state, one.revocation) for one in plan.answers] == [
        (CertState.GOOD, None),
        (CertState.REVOKED, held),
        (CertState.UNKNOWN, None),
    ]
    assert {(one.this_update, one.next_update) for one in plan.answers} == {(now, now + LIFETIME)}
    late = signer.not_after - timedelta(minutes=10)
    last = plan_response(view, request, late, scope=scope_of(extra), signer=signer)
    assert not isinstance(last, Refusal)
    assert {one.next_update for one in last.answers} == {signer.not_after}, "never good for longer than the signer"


# --- the responder


@pytest.mark.req("RV-03")
def test_one_answer_for_everybody_until_half_its_life(subject, desk: Desk) -> None:
    wanted = make_cert_id(subject.serial, desk.net.sub_ca)
    first = _ask(desk, wanted)
    assert _ask(desk, wanted) == first
    _clock(desk.net).advance(LIFETIME.total_seconds() / 2 - 1)
    assert _ask(desk, wanted) == first
    _clock(desk.net).advance(1)
    second = _ask(desk, wanted)
    assert second != first
    assert parse_response(second).produced_at == desk.net.clock.now()
    assert desk.responder.counts == {("good", "fresh"): 2, ("good", "presigned"): 2}


@pytest.mark.req("RV-03", "RV-04")
def test_an_act_of_the_ca_overtakes_the_kept_answer(desk: Desk, subject) -> None:
    issuer, now = desk.net.sub_ca, desk.net.clock.now
    wanted = make_cert_id(subject.serial, issuer)
    check_ocsp(_ask(desk, wanted), subject, issuer, now())
    for act, reason in (("hold", Reason.E_CERT_REVOKED), ("release", None), ("revoke", Reason.E_CERT_REVOKED)):
        if act == "release":
            desk.net.release(subject.serial)
        else:
            why = RevocationReason.CERTIFICATE_HOLD if act == "hold" else RevocationReason.KEY_COMPROMISE
            desk.net.revoke(subject.serial, why)
        _clock(desk.net).advance(1)
        if reason is None:
            check_ocsp(_ask(desk, wanted), subject, issuer, now())
            continue
        with pytest.raises(ZoneGateError) as refused:
            check_ocsp(_ask(desk, wanted), subject, issuer, now())
        assert refused.value.reason is reason


@pytest.mark.req("RV-03")
def test_renewed_before_anybody_asks(subject, desk: Desk) -> None:
    assert desk.responder.warm([subject.serial]) == 2, "under both hashes"
    assert desk.responder.warm([subject.serial]) == 0
    assert desk.responder.renew(10) == 0
    _clock(desk.net).advance(LIFETIME.total_seconds() / 2)
    assert desk.responder.renew(1) == 1
    assert desk.responder.renew(10) == 1
    kept = parse_response(_ask(desk, make_cert_id(subject.serial, desk.net.sub_ca)))
    assert kept.produced_at == desk.net.clock.now()
    assert desk.responder.counts["good", "presigned"] == 1


@pytest.mark.req("RV-03")
def test_fresh_answers_and_unknown_serials_are_bounded_in_rate(own_net: TestNet, subject) -> None:
    desk = make_desk(own_net, own_net.issue(Profile.OCSP, "ocsp"), limits=Limits(fresh_per_second=2))
    known, unknown = (make_cert_id(serial, own_net.sub_ca) for serial in (subject.serial, 77))
    states = [_ask(desk, known, nonce=NONCE), _ask(desk, unknown), _ask(desk, known, nonce=NONCE), _ask(desk, unknown)]
    later = encode_error(OcspError.TRY_LATER)
    assert [body == later for body in states] == [False, False, True, True]
    assert _ask(desk, known) != later, "the answer for everybody is not part of that"
    _clock(own_net).advance(1)
    assert _ask(desk, unknown) != later
    desk.close()


@pytest.mark.req("RV-03")
def test_what_the_responder_does_not_know_is_refused(answered) -> None:
    _, _, signer, good = answered
    unknown = _single(good, state=CertState.UNKNOWN)
    made = forge_answer([unknown], signer.certificate, signer.load().key)
    assert _verdict(made, answered) is Reason.E_OCSP_UNKNOWN


def test_the_store_is_bounded_and_forgets_the_oldest(own_net: TestNet) -> None:
    desk = make_desk(own_net, own_net.issue(Profile.OCSP, "ocsp"), limits=Limits(cache_entries=3))
    made = [own_net.issue(Profile.SYSTEM, f"s{number}").serial for number in range(4)]
    for serial in made:
        _ask(desk, make_cert_id(serial, own_net.sub_ca))
    assert desk.responder.kept == 3
    assert desk.responder.at_hand(Presigned(make_cert_id(made[0], own_net.sub_ca))) is None
    assert desk.responder.at_hand(Presigned(make_cert_id(made[3], own_net.sub_ca))) is not None
    desk.close()


class _Blind:
    """A ledger whose file went away."""

    def __init__(self) -> None:
        self.broken = False

    def _read(self) -> None:
        if self.broken:
            raise ZoneGateError(Reason.E_LEDGER, "ledger: is away")

    def head(self) -> int:
        return 0

    def changed_since(self, seq: int) -> tuple[int, frozenset[int]]:
        self._read()
        return seq, frozenset()

    def status(self, serial: int) -> SerialStatus:
        assert serial
        self._read()
        return SerialStatus(CertState.GOOD)


@pytest.mark.req("RV-02", "RV-03")
def test_without_its_ledger_it_says_try_later_even_about_kept_answers(desk: Desk, subject) -> None:
    view = _Blind()
    desk.responder._view = view
    wanted = make_cert_id(subject.serial, desk.net.sub_ca)
    good = _ask(desk, wanted)
    view.broken = True
    _clock(desk.net).advance(1)
    assert _ask(desk, wanted) == encode_error(OcspError.TRY_LATER)
    assert desk.responder.blind
    view.broken = False
    _clock(desk.net).advance(1)
    assert _ask(desk, wanted) == good
    assert desk.responder.blind is None


def test_an_ended_certificate_signs_nothing_more(desk: Desk, subject) -> None:
    clock = _clock(desk.net)
    clock.advance((desk.issued.certificate.not_after - clock.now()).total_seconds())
    body = _ask(desk, make_cert_id(subject.serial, desk.net.sub_ca))
    assert body == encode_error(OcspError.INTERNAL_ERROR)


def test_only_a_responders_certificate_and_key_start(own_net: TestNet) -> None:
    system = own_net.issue(Profile.SYSTEM, "a")
    with pytest.raises(ZoneGateError) as refused:
        make_desk(own_net, system)
    assert refused.value.reason is Reason.E_OCSP


# --- the verifier


@pytest.fixture(scope="module")
def answered(extra: TestNet):
    """A subject, its responder and the members of a good answer."""
    subject = extra.issue(Profile.SYSTEM, "judged").certificate
    signer = extra.issue(Profile.OCSP, "judge")
    now = extra.clock.now()
    single = SingleAnswer(make_cert_id(subject.serial, extra.sub_ca).encoded, CertState.GOOD, None, now, now + LIFETIME)
    return extra, subject, signer, single


def _single(good: SingleAnswer, **changes: object) -> SingleAnswer:
    members = {name: getattr(good, name) for name in SingleAnswer.__slots__}
    return SingleAnswer(**(members | changes))


def _verdict(response: bytes, answered, nonce: bytes | None = None, after: timedelta = timedelta(0)) -> Reason:
    net, subject, _, _ = answered
    try:
        check_ocsp(response, subject, net.sub_ca, net.clock.now() + after, nonce)
    except ZoneGateError as exc:
        return exc.reason
    return Reason.OK


@pytest.mark.req("RV-03")
def test_times_nonce_and_signature_of_an_answer(answered) -> None:
    net, _, signer, good = answered
    key, certificate = signer.load().key, signer.certificate
    made = forge_answer([good], certificate, key, nonce=NONCE)
    cases = {
        "good": (made, NONCE, 0, Reason.OK),
        "good, nonce not asked for": (made, None, 0, Reason.OK),
        "another nonce": (made, b"x" * 32, 0, Reason.E_OCSP_NONCE),
        "no nonce": (forge_answer([good], certificate, key), NONCE, 0, Reason.E_OCSP_NONCE),
        "last second": (made, None, LIFETIME.total_seconds() - 1, Reason.OK),
        "at nextUpdate": (made, None, LIFETIME.total_seconds(), Reason.E_STATUS_STALE),
        "a slow clock": (made, None, -SLOW_CLOCK.total_seconds(), Reason.OK),
        "from the future": (made, None, -SLOW_CLOCK.total_seconds() - 1, Reason.E_STATUS_STALE),
        "signed under the TLS id": (
            forge_answer([good], certificate, key, signer_id=sm2.TLS_ID),
            None,
            0,
            Reason.E_OCSP,
        ),
        "changed": (made.replace(NONCE, NONCE[::-1]), NONCE[::-1], 0, Reason.E_OCSP),
        "another key": (forge_answer([good], certificate, sm2.PrivateKey.generate()), None, 0, Reason.E_OCSP),
        "nobody's hash": (forge_answer([good], certificate, key, key_hash=bytes(20)), None, 0, Reason.E_OCSP),
        "certificate left out": (forge_answer([good], certificate, key, certificates=()), None, 0, Reason.E_OCSP),
        "an error": (encode_error(OcspError.TRY_LATER), None, 0, Reason.E_OCSP),
        "two answers about it": (forge_answer([good, good], certificate, key), None, 0, Reason.E_OCSP),
        "no answer": (
            forge_answer([_single(good, cert_id=make_cert_id(9, net.sub_ca).encoded)], certificate, key),
            None,
            0,
            Reason.E_OCSP,
        ),
        "about the root's serial": (
            forge_answer([_single(good, cert_id=make_cert_id(answered[1].serial, net.root).encoded)], certificate, key),
            None,
            0,
            Reason.E_OCSP,
        ),
        "ends before it begins": (
            forge_answer([_single(good, next_update=good.this_update)], certificate, key),
            None,
            0,
            Reason.E_OCSP,
        ),
    }
    found = {
        name: _verdict(body, answered, nonce, timedelta(seconds=after))
        for name, (body, nonce, after, _) in cases.items()
    }
    assert found == {name: wanted for name, (*_, wanted) in cases.items()}


@pytest.mark.req("RV-03", "CE-11", "CA-14")
def test_who_may_answer(answered, intra: TestNet) -> None:
    net, _, _, good = answered
    rows = {
        "a system": (net.issue(Profile.SYSTEM, "usurper"), Reason.E_OCSP),
        "a gateway": (net.issue(Profile.GATEWAY, "usurper"), Reason.E_OCSP),
        "the TSA": (net.issue(Profile.TSA, "usurper"), Reason.E_OCSP),
        "a responder of the other net": (intra.issue(Profile.OCSP, "usurper"), Reason.E_OCSP),
        "a responder not valid yet": (
            net.issue(Profile.OCSP, "early", not_before=net.clock.now() + timedelta(hours=2)),
            Reason.E_OCSP,
        ),
        "a second responder": (net.issue(Profile.OCSP, "second"), Reason.OK),
    }
    for name, (issued, wanted) in rows.items():
        made = forge_answer([good], issued.certificate, issued.load().key)
        assert _verdict(made, answered) is wanted, name


@pytest.mark.req("RV-03")
def test_the_issuer_itself_may_answer(answered) -> None:
    net, _, _, good = answered
    store = net.authority._keystore
    signature = {}

    class _Key:
        def sign(self, message: bytes, *, signer_id: bytes) -> bytes:
            signature["tbs"] = message
            return store.sign(Profile.SUB_CA, message, signer_id=signer_id)

    made = forge_answer([good], net.sub_ca, _Key(), certificates=())  # type: ignore[arg-type] # signs like a key
    assert _verdict(made, answered) is Reason.OK


# --- any bytes


@pytest.fixture(scope="module")
def samples(answered) -> tuple[bytes, bytes]:
    _, _, signer, good = answered
    ids = (make_cert_id(5, answered[0].sub_ca), make_cert_id(6, answered[0].sub_ca, OID_SHA1))
    return encode_request(ids, NONCE), forge_answer([good], signer.certificate, signer.load().key, nonce=NONCE)


@given(data=st.data())
@settings(max_examples=200, deadline=None)
def test_any_bytes_are_a_value_or_one_named_error(samples: tuple[bytes, bytes], data: st.DataObject) -> None:
    for source, parse in zip(samples, (parse_request, parse_response), strict=True):
        value_or_refusal(parse, data.draw(mutated(source)), Reason.E_OCSP)


@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_every_request_has_an_answer(extra: TestNet, samples: tuple[bytes, bytes], data: st.DataObject) -> None:
    asked = classify(data.draw(mutated(samples[0])), scope_of(extra))
    assert isinstance(asked, Refusal | Presigned | Fresh)


@given(data=st.data())
@settings(max_examples=100, deadline=None)
def test_a_changed_answer_never_counts(answered, samples: tuple[bytes, bytes], data: st.DataObject) -> None:
    changed = data.draw(mutated(samples[1]))
    if changed != samples[1]:
        assert _verdict(changed, answered, NONCE) in (Reason.E_OCSP, Reason.OK)
        if _verdict(changed, answered, NONCE) is Reason.OK:
            # Only what the signature does not cover may differ: the signer's own certificate cannot.
            assert parse_response(changed).tbs == parse_response(samples[1]).tbs


@st.composite
def mutated(draw: st.DrawFn, source: bytes) -> bytes:
    """Return `source` with a byte changed, a piece cut out or put in."""
    at = draw(st.integers(0, len(source)))
    end = draw(st.integers(at, min(len(source), at + 8)))
    return source[:at] + draw(st.binary(max_size=8)) + source[end:]


def test_an_empty_chain_is_left_out() -> None:
    assert encode_response(der.sequence(), b"\0" * 70, ()).count(b"\xa0") == 1

"""Time stamps: requests refused by name, tokens read by others, what a verifier accepts (RV-07, RV-08, RFC 3161)."""

import shutil
import socket
import subprocess
import threading
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import pkcs7
from gmssl import sm2 as gmssl_sm2
from hypothesis import given, settings
from hypothesis import strategies as st

from support.clock import NOON, FakeClock
from support.contract import value_or_refusal
from support.pki import TestNet
from support.status import LIMIT, make_stamper, second_implementation_accepts, store
from zonegate.ca.clockguard import ClockGuard
from zonegate.ca.serialfile import BLOCK, SerialFile
from zonegate.ca.sntp import offset_of, read_answer
from zonegate.ca.tsa import Grant, Rejection, TsaRules, plan_reply
from zonegate.errors import ZoneGateError
from zonegate.gm import der, sm2, sm3
from zonegate.identity import Net
from zonegate.pki import cms
from zonegate.pki.certificate import Profile
from zonegate.pki.crl import RevocationReason
from zonegate.pki.oids import OID_SM3, OID_TST_INFO, TSA_POLICY
from zonegate.pki.timestamp import SLOW_CLOCK, verify_token
from zonegate.pki.timestamp_message import (
    Failure,
    TstInfo,
    encode_rejection,
    encode_request,
    encode_tst_info,
    parse_reply,
    parse_request,
    parse_tst_info,
)
from zonegate.reasons import Reason
from zonegate.strictconf import Address

OPENSSL = shutil.which("openssl")
POLICY = TSA_POLICY[Net.EXTRA]
RULES = TsaRules(POLICY, LIMIT)
TEXT = "决定书".encode()
DIGEST = sm3.digest(TEXT)
NONCE = 0x1122334455667788


@pytest.fixture(scope="module")
def tsa(extra: TestNet):
    return extra.issue(Profile.TSA, "tsa")


@pytest.fixture(scope="module")
def stamper(extra: TestNet, tsa, tmp_path_factory: pytest.TempPathFactory):
    return make_stamper(extra, tsa, tmp_path_factory.mktemp("tsa") / "serials")


@pytest.fixture(scope="module")
def token(stamper) -> bytes:
    return parse_reply(stamper.reply(encode_request(DIGEST, nonce=NONCE)))


# --- requests


def _request(*parts: bytes, version: int = 1, oid: str = OID_SM3, imprint: bytes = DIGEST) -> bytes:
    hashed = der.sequence(der.sequence(der.oid(oid)), der.octet_string(imprint))
    return der.sequence(der.integer(version), hashed, *parts)


EXTENSION = der.tlv(der.context(0), der.sequence(der.oid("1.2.3"), der.octet_string(b"")))
REFUSED = {
    "nothing": (b"", Failure.BAD_DATA_FORMAT),
    "not DER": (b"\x30\x80\x00\x00", Failure.BAD_DATA_FORMAT),
    "5000 bytes": (bytes(5000), Failure.BAD_DATA_FORMAT),
    "trailing byte": (encode_request(DIGEST) + b"\0", Failure.BAD_DATA_FORMAT),
    "certReq FALSE spelt out": (_request(b"\x01\x01\x00"), Failure.BAD_DATA_FORMAT),
    "nonce negative": (_request(b"\x02\x01\x80"), Failure.BAD_DATA_FORMAT),
    "nonce of 161 bits": (_request(der.integer(1 << 160)), Failure.BAD_DATA_FORMAT),
    "no extension at all": (_request(der.tlv(der.context(0), b"")), Failure.BAD_DATA_FORMAT),
    "imprint too short": (_request(imprint=DIGEST[:31]), Failure.BAD_DATA_FORMAT),
    "imprint too long": (_request(imprint=DIGEST + b"\0"), Failure.BAD_DATA_FORMAT),
    "version 2": (_request(version=2), Failure.BAD_REQUEST),
    "version 0": (_request(version=0), Failure.BAD_REQUEST),
    "SHA-256": (_request(oid="2.16.840.1.101.3.4.2.1"), Failure.BAD_ALG),
    "SHA-1": (_request(oid="1.3.14.3.2.26", imprint=bytes(20)), Failure.BAD_ALG),
    "another policy": (encode_request(DIGEST, policy="1.2.3"), Failure.UNACCEPTED_POLICY),
    "the other net's policy": (encode_request(DIGEST, policy=TSA_POLICY[Net.INTRA]), Failure.UNACCEPTED_POLICY),
    "an extension": (_request(EXTENSION), Failure.UNACCEPTED_EXTENSION),
}


@pytest.mark.req("RV-07")
@pytest.mark.parametrize(("source", "failure"), REFUSED.values(), ids=REFUSED)
def test_refused_with_one_failure_bit(source: bytes, failure: Failure) -> None:
    plan = plan_reply(source, RULES, clock_problem=None)
    assert isinstance(plan, Rejection)
    assert plan.failure is failure
    with pytest.raises(ZoneGateError) as refused:
        parse_reply(encode_rejection(plan.failure, plan.text))
    assert refused.value.reason is Reason.E_TIMESTAMP
    assert failure.name in refused.value.detail


@pytest.mark.req("RV-07", "RV-08")
def test_no_time_no_token() -> None:
    plan = plan_reply(encode_request(DIGEST), RULES, clock_problem="clock: was set")
    assert plan == Rejection(Failure.TIME_NOT_AVAILABLE, "clock: was set")
    with pytest.raises(ZoneGateError) as refused:
        parse_reply(encode_rejection(plan.failure, plan.text))
    assert refused.value.reason is Reason.E_TIME_UNAVAILABLE


@pytest.mark.parametrize("failure", Failure)
def test_failure_bits_are_a_named_bit_list(failure: Failure) -> None:
    content = der.Reader(encode_rejection(failure, "x"))
    status = content.sequence("reply").sequence("status")
    assert (status.integer("status"), status.tlv()[0]) == (2, der.SEQUENCE)
    unused, *octets = status.read(der.BIT_STRING, "failInfo")
    bits = "".join(f"{octet:08b}" for octet in octets)
    assert len(bits) - unused == failure + 1
    assert [at for at, bit in enumerate(bits) if bit == "1"] == [failure]


def test_what_is_accepted() -> None:
    assert isinstance(plan_reply(encode_request(DIGEST, policy=POLICY, nonce=5), RULES, clock_problem=None), Grant)
    assert isinstance(plan_reply(_request(), RULES, clock_problem=None), Grant)


# --- the token, as other programs read it


@pytest.mark.req("RV-07")
@pytest.mark.skipif(OPENSSL is None, reason="openssl is not there")
def test_openssl_makes_the_request_and_reads_the_reply(stamper, tmp_path: Path) -> None:
    query = tmp_path / "q.tsq"
    command = ["openssl", "ts", "-query", "-digest", DIGEST.hex(), "-sm3", "-cert", "-out", str(query)]
    subprocess.run(command, check=True, capture_output=True)
    reply = tmp_path / "r.tsr"
    reply.write_bytes(stamper.reply(query.read_bytes()))
    done = subprocess.run(["openssl", "ts", "-reply", "-in", str(reply), "-text"], check=True, capture_output=True)
    text = done.stdout.decode()
    assert "Status: Granted." in text
    assert f"Policy OID: {POLICY}" in text
    assert "Hash Algorithm: sm3" in text
    assert "Time stamp: Jan  1 12:00:00 2030 GMT" in text
    assert "Accuracy: 0x01 seconds" in text
    cms_text = subprocess.run(
        ["openssl", "cms", "-cmsout", "-print", "-inform", "DER"],
        input=parse_reply(reply.read_bytes()),
        check=True,
        capture_output=True,
    ).stdout.decode()
    for words in ("id-smime-aa-signingCertificateV2", "algorithm: SM2-with-SM3", "id-smime-ct-TSTInfo"):
        assert words in cms_text


@pytest.mark.req("RV-07")
def test_cryptography_finds_the_certificates(token: bytes, tsa, extra: TestNet) -> None:
    found = {certificate.serial_number for certificate in pkcs7.load_der_pkcs7_certificates(token)}
    assert found == {tsa.serial, extra.sub_ca.serial}
    purpose = x509.load_der_x509_certificate(tsa.certificate.der).extensions.get_extension_for_class(
        x509.ExtendedKeyUsage
    )
    assert purpose.critical
    assert [item.dotted_string for item in purpose.value] == ["1.3.6.1.5.5.7.3.8"]


@pytest.mark.req("RV-07", "CR-06")
def test_signature_by_two_other_implementations(token: bytes, tsa) -> None:
    message = cms.parse(token)
    assert second_implementation_accepts(tsa.certificate, message.signature, message.signed_attributes)
    r, s = der.decode_signature(message.signature)
    point = tsa.certificate.public_key.point[1:].hex()
    other = gmssl_sm2.CryptSM2(private_key="", public_key=point, mode=1, asn1=False)
    other.public_key = point
    z = sm2.z_value(tsa.certificate.public_key, sm2.CERT_ID)
    assert other.verify(f"{r:064x}{s:064x}", sm3.digest(z + message.signed_attributes))


# --- what a token proves


@pytest.mark.req("RV-07")
def test_a_token_proves_its_digest_and_time(token: bytes, extra: TestNet, tsa) -> None:
    stamp = verify_token(token, DIGEST, extra.anchors(), extra.clock.now(), nonce=NONCE, policy=POLICY)
    assert stamp.gen_time == extra.clock.now()
    assert (stamp.info.accuracy, stamp.info.ordering, stamp.info.nonce) == (LIMIT, False, NONCE)
    assert stamp.signer == tsa.certificate
    assert [one.profile for one in stamp.chain] == [Profile.TSA, Profile.SUB_CA, Profile.ROOT]


def _forged(
    issued, net: TestNet, *, content: bytes | None = None, kind: str = OID_TST_INFO, **changes: object
) -> bytes:
    info = {
        "policy": POLICY,
        "imprint": DIGEST,
        "serial": 7,
        "gen_time": NOON,
        "accuracy": LIMIT,
        "ordering": False,
        "nonce": None,
    }
    body = content or encode_tst_info(TstInfo(**(info | changes)))
    attributes = cms.signed_attributes(kind, body, issued.certificate)
    signature = issued.load().key.sign(attributes, signer_id=sm2.CERT_ID)
    return cms.encode(kind, body, attributes, signature, issued.certificate, chain=(issued.certificate, net.sub_ca))


def _verdict(token: bytes, net: TestNet, digest: bytes = DIGEST, **more: object) -> Reason:
    try:
        verify_token(token, digest, net.anchors(), net.clock.now(), **more)
    except ZoneGateError as exc:
        return exc.reason
    return Reason.OK


@pytest.mark.req("RV-07", "RV-08", "CE-11", "CA-14")
def test_tokens_that_do_not_hold(token: bytes, extra: TestNet, intra: TestNet, tsa) -> None:
    seconds = SLOW_CLOCK + timedelta(milliseconds=1)
    bare = encode_tst_info(TstInfo(POLICY, DIGEST, 7, NOON, LIMIT, False, None))
    rows = {
        "good": (_verdict(_forged(tsa, extra), extra), Reason.OK),
        "altered imprint": (_verdict(token, extra, sm3.digest(TEXT + b"!")), Reason.E_TIMESTAMP),
        "another nonce": (_verdict(token, extra, nonce=NONCE + 1), Reason.E_TIMESTAMP),
        "another policy": (_verdict(token, extra, policy="1.2.3"), Reason.E_TIMESTAMP),
        "a slow clock here": (_verdict(_forged(tsa, extra, gen_time=NOON + SLOW_CLOCK), extra), Reason.OK),
        "from the future": (_verdict(_forged(tsa, extra, gen_time=NOON + seconds), extra), Reason.E_TIMESTAMP),
        "before its certificate": (
            _verdict(_forged(tsa, extra, gen_time=NOON - timedelta(days=2)), extra),
            Reason.E_CERT_NOT_YET_VALID,
        ),
        "by a system": (_verdict(_forged(extra.issue(Profile.SYSTEM, "s"), extra), extra), Reason.E_TIMESTAMP),
        "by evidence": (_verdict(_forged(extra.issue(Profile.EVIDENCE, "e"), extra), extra), Reason.E_TIMESTAMP),
        "by OCSP": (_verdict(_forged(extra.issue(Profile.OCSP, "o"), extra), extra), Reason.E_TIMESTAMP),
        "by the other net's TSA": (
            _verdict(_forged(intra.issue(Profile.TSA, "t"), intra), extra),
            Reason.E_TRUST_DOMAIN,
        ),
        "changed content": (_verdict(token.replace(DIGEST, DIGEST[::-1]), extra, DIGEST[::-1]), Reason.E_TIMESTAMP),
        "not a TSTInfo": (_verdict(_forged(tsa, extra, content=b"hello"), extra), Reason.E_TIMESTAMP),
        "of another kind": (_verdict(_forged(tsa, extra, kind="1.2.3"), extra), Reason.E_TIMESTAMP),
        "bare TSTInfo": (_verdict(bare, extra), Reason.E_TIMESTAMP),
        "nothing": (_verdict(b"", extra), Reason.E_TIMESTAMP),
    }
    assert {name: found for name, (found, _) in rows.items()} == {name: wanted for name, (_, wanted) in rows.items()}


@pytest.mark.req("RV-07")
def test_a_token_outlives_its_certificate_but_not_a_stolen_key(own_net: TestNet, tmp_path: Path) -> None:
    rows = {
        RevocationReason.KEY_COMPROMISE: Reason.E_CERT_REVOKED,
        RevocationReason.UNSPECIFIED: Reason.E_CERT_REVOKED,
        RevocationReason.SUPERSEDED: Reason.OK,
        RevocationReason.CESSATION_OF_OPERATION: Reason.OK,
    }
    clock = own_net.clock
    assert isinstance(clock, FakeClock)
    stamped = {}
    for reason in rows:
        issued = own_net.issue(Profile.TSA, f"tsa-{reason.value.lower()}")
        stamper = make_stamper(own_net, issued, tmp_path / reason.value)
        stamped[reason] = issued, parse_reply(stamper.reply(encode_request(DIGEST)))
    clock.advance(60)
    for reason, (issued, _) in stamped.items():
        own_net.revoke(issued.serial, reason)
    own_net.write_crl()
    late = make_stamper(own_net, stamped[RevocationReason.SUPERSEDED][0], tmp_path / "late")
    clock.advance(60)
    after = parse_reply(late.reply(encode_request(DIGEST)))
    crls = own_net.crls()
    assert {reason: _verdict(token, own_net, crls=crls) for reason, (_, token) in stamped.items()} == rows
    assert _verdict(after, own_net, crls=crls) is Reason.E_CERT_REVOKED, "stamped after it was withdrawn"
    clock.advance(4 * 366 * 86400)
    assert _verdict(stamped[RevocationReason.SUPERSEDED][1], own_net) is Reason.OK


@pytest.mark.req("RV-07")
def test_without_certreq_the_verifier_brings_the_certificates(stamper, extra: TestNet, tsa) -> None:
    token = parse_reply(stamper.reply(_request()))
    assert cms.parse(token).certificates == ()
    assert _verdict(token, extra) is Reason.E_TIMESTAMP
    assert _verdict(token, extra, intermediates=(tsa.certificate, extra.sub_ca)) is Reason.OK


# --- serials


@pytest.mark.req("RV-07")
def test_serials_are_never_given_twice(tmp_path: Path) -> None:
    clock = FakeClock()
    path = tmp_path / "serials"
    given_out = [SerialFile(path, clock).take() for _ in range(3)]
    one, two = SerialFile(path, clock), SerialFile(path, clock)
    for _ in range(BLOCK + 1):
        given_out += [one.take(), two.take()]
    assert len(set(given_out)) == len(given_out)
    lowest_free = max(given_out)
    path.unlink()
    clock.advance(1)
    assert SerialFile(path, clock).take() > lowest_free, "a lost file does not bring old numbers back"


@pytest.mark.parametrize("content", ["", "x", "-5", "5 6", "9" * 41])
def test_a_broken_serial_file_is_not_guessed(tmp_path: Path, content: str) -> None:
    path = tmp_path / "serials"
    path.write_text(content)
    with pytest.raises(ZoneGateError) as refused:
        SerialFile(path, FakeClock()).take()
    assert refused.value.reason is Reason.E_CONFIG


# --- the clock


def _step(seconds: float):
    return lambda clock: clock.set_wall(clock.now() + timedelta(seconds=seconds))


@pytest.mark.req("RV-07", "RV-08")
@pytest.mark.parametrize("seconds", [-3600, -1.5, 1.5, 3600])
def test_a_step_of_the_clock_stops_the_stamps(extra: TestNet, tsa, tmp_path: Path, seconds: float) -> None:
    clock = FakeClock(extra.clock.now())
    stamper = make_stamper(extra, tsa, tmp_path / "serials")
    stamper._clock = clock
    parse_reply(stamper.reply(encode_request(DIGEST)))
    clock.advance(5)
    parse_reply(stamper.reply(encode_request(DIGEST)))
    _step(seconds)(clock)
    for _ in range(2):
        with pytest.raises(ZoneGateError) as refused:
            parse_reply(stamper.reply(encode_request(DIGEST)))
        assert refused.value.reason is Reason.E_TIME_UNAVAILABLE
        clock.advance(100)
    assert stamper.counts == {"granted": 2, "time_not_available": 2}


@pytest.mark.req("RV-08")
def test_the_reference_decides_where_there_is_one() -> None:
    clock = FakeClock()
    guard = ClockGuard(LIMIT, reference_age=timedelta(seconds=60))

    def problem() -> str:
        return guard.problem(clock.now(), clock.monotonic()) or ""

    def measured(offset: float) -> None:
        guard.measured(timedelta(seconds=offset), clock.now(), clock.monotonic())

    assert "not answered yet" in problem()
    measured(0.4)
    assert problem() == ""
    clock.advance(30)
    measured(-1.2)
    assert "differs from the reference by -1.200 s" in problem()
    measured(0.0)
    assert problem() == ""
    clock.advance(61)
    assert "not answered for 61" in problem()
    _step(600)(clock)
    assert "was set by 600" in problem()
    measured(600)
    assert problem()
    _step(-600)(clock)
    assert problem(), "stepping back is a step as well"
    measured(0.1)
    assert problem() == "", "the reference agrees with the clock again"


def _answer(asked: bytes, first: int = 0x24, stratum: int = 2) -> bytes:
    stamp = (2_208_988_800 + 1_893_499_200).to_bytes(4, "big") + b"\x80\0\0\0"
    return bytes((first, stratum)) + bytes(22) + asked + stamp * 2


@pytest.mark.req("RV-08")
def test_answers_of_a_time_server() -> None:
    asked = bytes(range(8))
    assert read_answer(_answer(asked), asked) == (1_893_499_200.5, 1_893_499_200.5)
    for bad in (
        b"",
        _answer(asked)[:47],
        _answer(asked[::-1]),
        _answer(asked, first=0xE4),
        _answer(asked, first=0x23),
        _answer(asked, stratum=0),
        _answer(asked, stratum=16),
    ):
        with pytest.raises(ZoneGateError) as refused:
            read_answer(bad, asked)
        assert refused.value.reason is Reason.E_TIME_UNAVAILABLE


@pytest.mark.req("RV-08")
def test_a_time_server_is_asked_over_udp() -> None:
    clock = FakeClock()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as wire:
        wire.bind(("127.0.0.1", 0))
        wire.settimeout(10)
        host, port = wire.getsockname()

        def serve() -> None:
            question, peer = wire.recvfrom(256)
            wire.sendto(_answer(question[40:48]), peer)

        thread = threading.Thread(target=serve)
        thread.start()
        offset = offset_of(Address(host, port), clock, seconds=10)
        thread.join()
    assert offset == timedelta(seconds=clock.timestamp() - 1_893_499_200.5)
    with pytest.raises(ZoneGateError) as refused:
        offset_of(Address(host, port), clock, seconds=0.05)
    assert refused.value.reason is Reason.E_TIME_UNAVAILABLE


def test_a_tsa_that_cannot_sign_says_system_failure(extra: TestNet, tsa, tmp_path: Path) -> None:
    stamper = make_stamper(extra, tsa, tmp_path / "no" / "such" / "serials")
    with pytest.raises(ZoneGateError, match="SYSTEM_FAILURE"):
        parse_reply(stamper.reply(encode_request(DIGEST)))
    with pytest.raises(ZoneGateError) as refused:
        make_stamper(extra, extra.issue(Profile.SYSTEM, "no-tsa"), tmp_path / "serials")
    assert refused.value.reason is Reason.E_CERT_USAGE
    assert store(Profile.TSA, tsa).public_key(Profile.TSA) == tsa.certificate.public_key


# --- any bytes


@given(
    info=st.builds(
        TstInfo,
        policy=st.just(POLICY),
        imprint=st.binary(min_size=32, max_size=32),
        serial=st.integers(0, (1 << 160) - 1),
        gen_time=st.datetimes(min_value=NOON.replace(tzinfo=None, year=1970)).map(
            lambda at: at.replace(tzinfo=NOON.tzinfo)
        ),
        accuracy=st.timedeltas(timedelta(0), timedelta(days=1)),
        ordering=st.booleans(),
        nonce=st.none() | st.integers(0, (1 << 160) - 1),
    )
)
@settings(max_examples=100, deadline=None)
def test_tst_info_comes_back(info: TstInfo) -> None:
    assert parse_tst_info(encode_tst_info(info)) == info


@st.composite
def mutated(draw: st.DrawFn, source: bytes) -> bytes:
    at = draw(st.integers(0, len(source)))
    end = draw(st.integers(at, min(len(source), at + 8)))
    return source[:at] + draw(st.binary(max_size=8)) + source[end:]


@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_any_bytes_are_a_value_or_one_named_error(token: bytes, extra: TestNet, data: st.DataObject) -> None:
    value_or_refusal(
        parse_request, data.draw(mutated(encode_request(DIGEST, policy=POLICY, nonce=5))), Reason.E_TIMESTAMP
    )
    value_or_refusal(parse_reply, data.draw(mutated(encode_rejection(Failure.BAD_ALG, "x"))), *Reason)
    value_or_refusal(parse_tst_info, data.draw(mutated(cms.parse(token).content)), Reason.E_TIMESTAMP)
    changed = data.draw(mutated(token))
    if changed != token:
        assert _verdict(changed, extra) in set(Reason) - {Reason.E_INTERNAL}

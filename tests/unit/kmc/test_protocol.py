"""What a centre refuses to hear, a CA to believe (CA-09): each row differs from the good one in one place."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.clock import FakeClock
from support.kmc import KmcLab
from zonegate.ca import asn1
from zonegate.ca.audit import Act
from zonegate.ca.kmc import messages, protocol
from zonegate.ca.kmc.messages import Answer, Apply, Key, Purpose, Refused, Request, Restore, Revoke, Revoked
from zonegate.errors import ZoneGateError
from zonegate.gm import der, enveloped, sm2, sm3
from zonegate.gm.sm2 import PrivateKey
from zonegate.identity import Net
from zonegate.pki.certificate import Profile
from zonegate.reasons import Reason

USER = PrivateKey.generate()
SECOND = timedelta(seconds=1)


def _request(lab: KmcLab, **changes: object) -> Request:
    body = Apply(77, Profile.SYSTEM_ENCRYPTION, lab.net.identity("pop"), USER.public_key)
    at = lab.clock.now().replace(microsecond=0)
    made = Request(str(lab.parties.ca.identity), str(lab.parties.centre.identity), at, 5, bytes(16), body)
    return replace(made, **changes)  # type: ignore[arg-type] # a table of changes


def _outcome(lab: KmcLab, message: bytes) -> Key | Revoked | Refused:
    body, _ = protocol._split(lab.service.answer(message), "answer")
    return messages.decode_answer(body).outcome


def _signed(lab: KmcLab, request: Request) -> bytes:
    return protocol.sign_request(request, lab.parties.ca.load().key)


@pytest.mark.req("CA-09")
def test_a_good_request_gets_a_key(lab: KmcLab) -> None:
    outcome = _outcome(lab, _signed(lab, _request(lab)))
    assert isinstance(outcome, Key)
    assert enveloped.unseal(outcome.envelope, USER).public_key == outcome.public_key


def _unsigned(lab: KmcLab) -> bytes:
    return asn1.encode_signed(messages.encode_request(_request(lab)), der.encode_signature(1, 2))


def _without_context(lab: KmcLab) -> bytes:
    body = messages.encode_request(_request(lab))
    return asn1.encode_signed(body, lab.parties.ca.load().key.sign(body, signer_id=sm2.CERT_ID))


def _tls_id(lab: KmcLab) -> bytes:
    body = messages.encode_request(_request(lab))
    signed = protocol._REQUEST_CONTEXT + body
    return asn1.encode_signed(body, lab.parties.ca.load().key.sign(signed, signer_id=sm2.TLS_ID))


def _altered(lab: KmcLab) -> bytes:
    body, signature = protocol._split(_signed(lab, _request(lab)), "request")
    other = messages.encode_request(_request(lab, body=replace(_request(lab).body, serial=78)))  # type: ignore[type-var]
    assert other != body
    return asn1.encode_signed(other, signature)


def _by_other(lab: KmcLab) -> bytes:
    return protocol.sign_request(_request(lab), lab.parties.other_ca.load().key)


def _stranger(lab: KmcLab) -> bytes:
    stranger = lab.net.identity("stranger")
    return _signed(lab, _request(lab, ca=str(stranger)))


def _other_centre(lab: KmcLab) -> bytes:
    return _signed(lab, _request(lab, kmc=str(lab.parties.ca.identity)))


def _at(shift: timedelta) -> Callable[[KmcLab], bytes]:
    return lambda lab: _signed(lab, _request(lab, at=lab.clock.now().replace(microsecond=0) + shift))


def _signing_profile(lab: KmcLab) -> bytes:
    body = Apply(77, Profile.SYSTEM, lab.net.identity("pop"), USER.public_key)
    return _signed(lab, _request(lab, body=body))


REFUSED = {
    "unsigned": (_unsigned, Reason.E_KMC_REQUEST),
    "signed without the context": (_without_context, Reason.E_KMC_REQUEST),
    "signed under the id of TLS": (_tls_id, Reason.E_KMC_REQUEST),
    "altered after signing": (_altered, Reason.E_KMC_REQUEST),
    "signed by another CA": (_by_other, Reason.E_KMC_REQUEST),
    "a CA that is not served": (_stranger, Reason.E_KMC_REQUEST),
    "for another centre": (_other_centre, Reason.E_KMC_REQUEST),
    "too old": (_at(-protocol.TIME_WINDOW - SECOND), Reason.E_KMC_REPLAY),
    "from the future": (_at(protocol.TIME_WINDOW + 2 * SECOND), Reason.E_KMC_REPLAY),
    "CA-05 a signing key": (_signing_profile, Reason.E_NOT_ESCROWED),
}


@pytest.mark.req("CA-09")
@pytest.mark.parametrize(("made", "reason"), REFUSED.values(), ids=REFUSED)
def test_refused_with_a_signed_error_and_no_key(lab: KmcLab, made: Callable[[KmcLab], bytes], reason: Reason) -> None:
    before = lab.centre.store.counts()
    outcome = _outcome(lab, made(lab))
    assert isinstance(outcome, Refused)
    assert outcome.reason is reason
    assert lab.centre.store.counts() == before
    assert lab.audit()[-1].reason == reason.value


@pytest.mark.req("CA-09")
def test_replay_is_refused_also_by_another_process_and_after_a_refusal(lab: KmcLab) -> None:
    message = _signed(lab, _request(lab))
    assert isinstance(_outcome(lab, message), Key)
    other = lab.reopened()
    for centre in (lab.centre, other):
        body, _ = protocol._split(lab.serving(centre).answer(message), "answer")
        outcome = messages.decode_answer(body).outcome
        assert isinstance(outcome, Refused)
        assert outcome.reason is Reason.E_KMC_REPLAY
        assert outcome.number == messages.ERROR_NUMBERS[Reason.E_KMC_REPLAY]
    other.close()


@pytest.mark.req("CA-09")
def test_a_request_refused_while_sealed_does_not_succeed_later(sealed: KmcLab) -> None:
    message = _signed(sealed, _request(sealed))
    first = _outcome(sealed, message)
    assert isinstance(first, Refused)
    assert first.reason is Reason.E_KMC_SEALED
    sealed.unseal()
    second = _outcome(sealed, message)
    assert isinstance(second, Refused)
    assert second.reason is Reason.E_KMC_REPLAY


def test_what_is_no_message_gets_no_answer(lab: KmcLab) -> None:
    for message in (b"\x30\x00", b"", bytes(protocol.MESSAGE_MAX_BYTES + 1)):
        with pytest.raises(ZoneGateError) as refused:
            lab.service.answer(message)
        assert refused.value.reason is Reason.E_DER
        assert (lab.audit()[-1].act, lab.audit()[-1].reason) == (Act.KEY_REQUEST, "E_DER")


def _answer(lab: KmcLab, request: Request, message: bytes, **changes: object) -> Answer:
    given = lab.centre.apply(request.body, ca=request.ca)  # type: ignore[arg-type] # an Apply
    outcome = Key(request.body.serial, given.public_key, given.envelope)
    made = Answer(request.kmc, request.ca, request.at, request.task, request.nonce, sm3.digest(message), outcome)
    return replace(made, **changes)  # type: ignore[arg-type] # a table of changes


UNBELIEVED: dict[str, dict[str, object]] = {
    "another request's digest": {"request_digest": bytes(32)},
    "another task": {"task": 6},
    "another nonce": {"nonce": bytes(15) + b"\x01"},
    "another CA": {"ca": "spiffe://extra/111000009900000172/elsewhere"},
    "another centre": {"kmc": "spiffe://extra/111000009900000172/elsewhere"},
    "archived instead of given": {"outcome": Revoked(77)},
    "another serial": {"outcome": Revoked(78)},
}


def _believe(lab: KmcLab, request: Request, message: bytes, signed: bytes) -> Key | Revoked:
    centre = lab.parties.centre.certificate
    return protocol.read_answer(signed, request=request, request_message=message, centre=centre, now=lab.clock.now())


@pytest.mark.req("CA-09")
@pytest.mark.parametrize("changes", UNBELIEVED.values(), ids=UNBELIEVED)
def test_an_answer_that_is_not_this_requests_is_not_believed(lab: KmcLab, changes: dict[str, object]) -> None:
    request = _request(lab)
    message = _signed(lab, request)
    answer = _answer(lab, request, message, **changes)
    with pytest.raises(ZoneGateError) as refused:
        _believe(lab, request, message, protocol.sign_answer(answer, lab.credential.key))
    assert refused.value.reason is Reason.E_KMC


@pytest.mark.req("CA-09")
def test_an_answer_needs_the_centres_signature_and_time(lab: KmcLab) -> None:
    request = _request(lab)
    message = _signed(lab, request)
    answer = _answer(lab, request, message)
    good = protocol.sign_answer(answer, lab.credential.key)
    assert isinstance(_believe(lab, request, message, good), Key)
    body = messages.encode_answer(answer)
    key = PrivateKey.generate()
    late = replace(answer, at=answer.at - protocol.TIME_WINDOW - 2 * SECOND)
    swapped = replace(answer, outcome=replace(answer.outcome, public_key=USER.public_key))  # type: ignore[type-var]
    for bad in (
        protocol.sign_answer(answer, key),
        asn1.encode_signed(body, lab.credential.key.sign(body, signer_id=sm2.CERT_ID)),
        protocol.sign_answer(late, lab.credential.key),
        protocol.sign_answer(swapped, lab.credential.key),
        good[:-1],
        b"",
    ):
        with pytest.raises(ZoneGateError) as refused:
            _believe(lab, request, message, bad)
        assert refused.value.reason is Reason.E_KMC


def test_a_centre_that_is_not_there_is_a_reason_not_a_crash(lab: KmcLab) -> None:
    def gone(_message: bytes) -> bytes:
        raise ZoneGateError(Reason.E_KMC, "kmc.sock: no such file")

    with pytest.raises(ZoneGateError) as refused:
        lab.client(exchange=gone).revoke(5, "test")
    assert refused.value.reason is Reason.E_KMC


# --- codec


def test_round_trips(lab: KmcLab) -> None:
    bodies = (
        Apply(1, Profile.GATEWAY_ENCRYPTION, lab.net.identity("gw"), USER.public_key),
        Restore(1 << 158, Purpose.JUDICIAL, lab.parties.ca.certificate, b"order", (b"one", b"two")),
        Restore(2, Purpose.USER, lab.parties.ca.certificate, b"", ()),
        Revoke(3, "证书撤销"),
    )
    for body in bodies:
        request = _request(lab, body=body)
        assert messages.decode_request(messages.encode_request(request)) == request
    envelope = enveloped.seal(PrivateKey.generate(), USER.public_key)
    key = enveloped.decode(envelope).public_key
    for outcome in (Key(9, key, envelope), Revoked(9), Refused(3, Reason.E_KMC_SEALED, "封存")):
        answer = Answer(_request(lab).kmc, _request(lab).ca, _request(lab).at, 1, bytes(16), bytes(32), outcome)
        assert messages.decode_answer(messages.encode_answer(answer)) == answer


_SAMPLE_REQUEST = messages.encode_request(
    Request(
        "spiffe://extra/111000009900000172/ca",
        "spiffe://extra/111000009900000172/kmc",
        FakeClock().now().replace(microsecond=0),
        5,
        bytes(16),
        Apply(
            77,
            Profile.SYSTEM_ENCRYPTION,
            messages.parse_identity("spiffe://extra/111000009900000172/pop"),
            USER.public_key,
        ),
    )
)


@given(st.one_of(st.binary(max_size=300), st.tuples(st.integers(0, len(_SAMPLE_REQUEST) - 1), st.integers(1, 255))))
@settings(max_examples=200, deadline=None)
def test_fuzz_a_message_or_e_der_and_one_form(case: bytes | tuple[int, int]) -> None:
    if isinstance(case, tuple):
        at, mask = case
        case = _SAMPLE_REQUEST[:at] + bytes((_SAMPLE_REQUEST[at] ^ mask,)) + _SAMPLE_REQUEST[at + 1 :]
    for decode, encode in (
        (messages.decode_request, messages.encode_request),
        (messages.decode_answer, messages.encode_answer),
    ):
        try:
            value = decode(case)
        except ZoneGateError as exc:
            assert exc.reason in (Reason.E_DER, Reason.E_KEY, Reason.E_CIPHERTEXT)
        else:
            assert encode(value) == case  # type: ignore[operator] # the pair belongs together
            assert Net.EXTRA.value in str(value)

"""CSRResponse (C3.4): both taggings are read, one is written, and what does not belong together is refused (CA-06)."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.clock import FakeClock
from support.kmc import KmcLab, dual_request, make_parties
from support.pki import ACTOR, TestNet, make_net
from zonegate.errors import ZoneGateError
from zonegate.gm import der, enveloped, pem
from zonegate.gm.sm2 import PrivateKey
from zonegate.identity import Net
from zonegate.pki.certificate import Profile
from zonegate.pki.csr_response import PEM_LABEL, RESPONSE_MAX_BYTES, CsrResponse, build, open_pair, parse
from zonegate.reasons import Reason

KEY = PrivateKey.generate()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[TestNet, CsrResponse]]:
    path: Path = tmp_path_factory.mktemp("response")
    net = make_net(path / "net", Net.EXTRA, FakeClock())
    lab = KmcLab(path, net, make_parties(net))
    lab.unseal()
    yield (
        net,
        net.authority.issue_dual(dual_request(net, "pop", KEY), Profile.SYSTEM, lab.client(), actor=ACTOR),
    )
    lab.close()
    net.close()


def _parts(response: CsrResponse) -> tuple[bytes, bytes, bytes]:
    body = der.Reader(build(response)).sequence("CSRResponse")
    return body.tlv(), body.tlv(), body.tlv()


@pytest.mark.req("CA-06")
def test_what_is_written_and_every_form_that_is_read(made: tuple[TestNet, CsrResponse]) -> None:
    _, response = made
    assert response.envelope is not None
    signing, envelope, encryption = _parts(response)
    assert envelope == der.tlv(der.context(0), response.envelope)
    assert encryption == der.tlv(der.context(1), response.encryption[0].der)
    implicit = der.tlv(der.context(0), der.Reader(response.envelope).read(der.SEQUENCE, "envelope"))
    explicit = der.tlv(der.context(1), der.tlv(der.SET, response.encryption[0].der))
    for first in (envelope, implicit):
        for second in (encryption, explicit):
            again = parse(der.sequence(signing, first, second))
            assert again.envelope == response.envelope
            assert again.encryption == response.encryption
            assert set(again.signing) == set(response.signing)
    assert parse(pem.encode(PEM_LABEL, build(response))).envelope == response.envelope
    pair = open_pair(parse(build(response)), KEY)
    assert pair.encryption_key.public_key == pair.encryption.public_key


def test_a_response_without_encryption(made: tuple[TestNet, CsrResponse]) -> None:
    _, response = made
    bare = parse(build(CsrResponse(response.signing, None, ())))
    assert bare.encryption_leaf is None
    with pytest.raises(ZoneGateError) as refused:
        open_pair(bare, KEY)
    assert refused.value.reason is Reason.E_PROFILE


Change = Callable[[TestNet, CsrResponse], CsrResponse]


def _other_envelope(_net: TestNet, response: CsrResponse) -> CsrResponse:
    return CsrResponse(response.signing, enveloped.seal(PrivateKey.generate(), KEY.public_key), response.encryption)


def _other_holder(net: TestNet, response: CsrResponse) -> CsrResponse:
    other = net.issue(Profile.SYSTEM, "other").certificate
    return CsrResponse((other,), response.envelope, response.encryption)


MISMATCHED: dict[str, tuple[Change, Reason]] = {
    "no signing certificate": (lambda _, r: CsrResponse((), r.envelope, r.encryption), Reason.E_PROFILE),
    "an envelope without certificate": (lambda _, r: CsrResponse(r.signing, r.envelope, ()), Reason.E_PROFILE),
    "a certificate without envelope": (lambda _, r: CsrResponse(r.signing, None, r.encryption), Reason.E_PROFILE),
    "an envelope of another key": (_other_envelope, Reason.E_KEY),
    "of another holder": (_other_holder, Reason.E_PROFILE),
    "the two exchanged": (lambda _, r: CsrResponse(r.encryption, r.envelope, r.signing), Reason.E_PROFILE),
    "only CA certificates": (
        lambda n, r: CsrResponse((n.sub_ca,), r.envelope, r.encryption),
        Reason.E_PROFILE,
    ),
}


@pytest.mark.req("CA-06", "CE-05")
@pytest.mark.parametrize(("change", "reason"), MISMATCHED.values(), ids=MISMATCHED)
def test_what_does_not_belong_together_is_neither_built_nor_read(
    made: tuple[TestNet, CsrResponse], change: Change, reason: Reason
) -> None:
    response = change(*made)
    with pytest.raises(ZoneGateError) as refused:
        build(response)
    assert refused.value.reason is reason


def test_malformed(made: tuple[TestNet, CsrResponse]) -> None:
    _, response = made
    signing, envelope, encryption = _parts(response)
    whole = build(response)
    many = der.tlv(der.SET, response.signing[0].der * 9)
    for bad in (
        b"",
        whole + b"\x00",
        whole[:-1],
        der.sequence(signing, encryption, envelope),
        der.sequence(signing, envelope, encryption, der.NULL_TLV),
        der.sequence(der.tlv(der.SET, b""), envelope, encryption),
        der.sequence(many, envelope, encryption),
        der.sequence(der.tlv(der.SEQUENCE, response.signing[0].der)),
        pem.encode(PEM_LABEL, whole) * 2,
        b"-----BEGIN ",
        bytes(RESPONSE_MAX_BYTES + 1),
    ):
        with pytest.raises(ZoneGateError) as refused:
            parse(bad)
        assert refused.value.reason is Reason.E_DER


@given(st.data())
@settings(max_examples=100, deadline=None)
def test_fuzz_a_response_or_one_named_error(made: tuple[TestNet, CsrResponse], data: st.DataObject) -> None:
    whole = build(made[1])
    at = data.draw(st.integers(0, len(whole) - 1))
    mask = data.draw(st.integers(1, 255))
    try:
        open_pair(parse(whole[:at] + bytes((whole[at] ^ mask,)) + whole[at + 1 :]), KEY)
    except ZoneGateError as exc:
        assert exc.reason is not Reason.E_INTERNAL

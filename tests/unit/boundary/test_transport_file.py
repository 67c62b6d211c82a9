"""Transport files: a round trip, then each thing wrong in one place and the reason it must give."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.boundary import (
    CALLER,
    GATEWAY,
    IMPORTER,
    MESSAGES,
    content_of,
    gateway_credential,
    hand_net,
    header,
    importer_key,
    sealed,
    signed,
    transport_file,
)
from support.clock import NOON
from support.x509_builder import ListTemplate, crl_der, entry
from zonegate.errors import ZoneGateError
from zonegate.gateway.boundary.transport_file import DEFAULT_BOUNDS, Bounds, open_object, read_proof, verify_signer
from zonegate.gm.sm2 import PrivateKey
from zonegate.identity import Net
from zonegate.pki.certificate import Profile
from zonegate.pki.credential import Credential
from zonegate.pki.crl import load_crl
from zonegate.pki.path import SignatureCache
from zonegate.reasons import Reason

EXTRA, INTRA = hand_net(Net.EXTRA), hand_net(Net.INTRA)
KEY = importer_key()
FILE = transport_file()


def opened(file, *, key=KEY, anchors=EXTRA.anchors, now=NOON, crls=(), bounds=DEFAULT_BOUNDS):
    blocks = (file[at : at + 4096] for at in range(0, len(file), 4096))
    return open_object(blocks, key, anchors, now=now, crls=crls, bounds=bounds)


def refusal(file, **changes):
    with pytest.raises(ZoneGateError) as caught:
        opened(file, **changes)
    return caught.value.reason


def crl(net, *serials):
    entries = [entry(serial, NOON - timedelta(hours=1)) for serial in serials] or None
    sub_ca = net.sub_ca
    return load_crl(crl_der(ListTemplate(entries=entries), sub_ca.certificate.subject_der, sub_ca.key))


def root_crl(net):
    return load_crl(crl_der(ListTemplate(), net.root.certificate.subject_der, net.root.key))


def test_an_object_survives_the_carrier():
    item = opened(FILE)
    assert item.messages == MESSAGES
    assert item.header == header()
    assert item.signer == gateway_credential().leaf


def test_a_cache_that_is_given_empty_is_the_one_used():
    cache = SignatureCache()
    open_object([FILE], KEY, EXTRA.anchors, now=NOON, signatures=cache)
    assert len(cache) > 0


def test_an_object_without_messages_and_one_of_many_chunks_survive():
    assert opened(transport_file(())).messages == ()
    many = tuple(bytes([number % 256]) * 1000 for number in range(300))
    assert opened(transport_file(many)).messages == many


def test_the_proof_can_be_verified_again_without_the_messages():
    item = opened(FILE)
    kept, found = read_proof(item.signed.proof)
    assert (kept, found) == (item.signed, item.header)
    assert verify_signer(kept, found, EXTRA.anchors, now=NOON) == item.signer


def test_a_revoked_signer_is_refused_and_a_clean_list_is_not():
    serial = gateway_credential().leaf.serial
    assert opened(FILE, crls=(crl(EXTRA), root_crl(EXTRA))).messages == MESSAGES
    assert refusal(FILE, crls=(crl(EXTRA, serial), root_crl(EXTRA))) is Reason.E_CERT_REVOKED
    assert refusal(FILE, crls=(root_crl(EXTRA),)) is Reason.E_STATUS_STALE


def signed_by(signer: Credential, **changes):
    return transport_file_of(signed(header(signer=signer.leaf.fingerprint, **changes), signer))


def transport_file_of(item, messages=MESSAGES):
    return sealed(content_of(item, messages))


def chain_of(certificate):
    return (certificate.der, EXTRA.sub_ca.certificate.der)


INTRA_GATEWAY = GATEWAY.replace("extra", "intra")
GOOD = signed(header())
OTHER = EXTRA.issue(f"{GATEWAY}2")

SIGNERS = {
    "a certificate of the other net": (lambda: signed_by(INTRA.issue(INTRA_GATEWAY)), Reason.E_TRUST_DOMAIN),
    "an extra certificate under a foreign root": (
        lambda: signed_by(
            replace(
                gateway_credential(), chain=(INTRA.sub_ca.issue(leaf_template()).certificate, INTRA.sub_ca.certificate)
            )
        ),
        Reason.E_TRUST_DOMAIN,
    ),
    "a system's certificate": (lambda: signed_by(EXTRA.issue(GATEWAY, Profile.SYSTEM)), Reason.E_CERT_USAGE),
    "an officer's certificate": (lambda: signed_by(EXTRA.issue(GATEWAY, Profile.OFFICER)), Reason.E_CERT_USAGE),
    "a certificate that expired": (
        lambda: signed_by(EXTRA.issue(GATEWAY, not_after=NOON - timedelta(seconds=1))),
        Reason.E_CERT_EXPIRED,
    ),
    "a certificate that was not valid then": (
        lambda: signed_by(EXTRA.issue(GATEWAY, not_before=NOON - timedelta(seconds=30))),
        Reason.E_CERT_NOT_YET_VALID,
    ),
    "another gateway": (lambda: signed_by(OTHER), Reason.E_IMPORT_SIGNATURE),
    "a certificate that the header does not name": (
        lambda: transport_file_of(replace(GOOD, chain=chain_of(OTHER.leaf))),
        Reason.E_IMPORT_SIGNATURE,
    ),
    "a signature of another key": (
        lambda: transport_file_of(replace(GOOD, signature=signed(header(), OTHER).signature)),
        Reason.E_IMPORT_SIGNATURE,
    ),
    "a signature that is no DER": (
        lambda: transport_file_of(replace(GOOD, signature=b"\x30\x00")),
        Reason.E_IMPORT_SIGNATURE,
    ),
    "no certificates": (lambda: transport_file_of(replace(GOOD, chain=())), Reason.E_IMPORT_FORMAT),
    "five certificates": (lambda: transport_file_of(replace(GOOD, chain=GOOD.chain * 3)), Reason.E_IMPORT_FORMAT),
    "a certificate that is none": (
        lambda: transport_file_of(replace(GOOD, chain=(b"\x30\x00", GOOD.chain[1]))),
        Reason.E_IMPORT_FORMAT,
    ),
    "no sub-CA certificate": (
        lambda: transport_file_of(replace(GOOD, chain=GOOD.chain[:1])),
        Reason.E_CERT_CHAIN,
    ),
}


def leaf_template():
    from support.x509_builder import LEAF

    return replace(LEAF, profile=Profile.GATEWAY, uris=(GATEWAY,))


@pytest.mark.req("CA-14", "XZ-04")
@pytest.mark.parametrize(("make", "reason"), SIGNERS.values(), ids=SIGNERS)
def test_who_did_not_sign_as_the_gateway_is_refused(make, reason):
    assert refusal(make()) is reason


@pytest.mark.req("CA-14")
def test_a_verifier_of_the_other_net_refuses():
    assert refusal(FILE, anchors=INTRA.anchors) is Reason.E_TRUST_DOMAIN


def altered_header(**changes):
    """The header changed after signing."""
    from zonegate.gateway.boundary.header import encode_header

    return transport_file_of(replace(GOOD, encoded=encode_header(header(**changes))))


def spliced(old, new):
    content = content_of(GOOD)
    assert content.count(old) == 1
    return sealed(content.replace(old, new))


CONTENTS = {
    "the label lowered": (lambda: altered_header(label="L0"), Reason.E_IMPORT_SIGNATURE),
    "another caller": (lambda: altered_header(caller=CALLER + "2"), Reason.E_IMPORT_SIGNATURE),
    "another importer": (lambda: altered_header(importer=IMPORTER + "2"), Reason.E_IMPORT_SIGNATURE),
    "a message changed": (lambda: spliced(b"first", b"fir5t"), Reason.E_IMPORT_SIGNATURE),
    "a message left out": (lambda: sealed(content_of(GOOD, MESSAGES[:2])), Reason.E_IMPORT_FORMAT),
    "a message added": (lambda: sealed(content_of(GOOD, (*MESSAGES, b""))), Reason.E_IMPORT_FORMAT),
    "messages exchanged": (lambda: sealed(content_of(GOOD, MESSAGES[::-1])), Reason.E_IMPORT_SIGNATURE),
    "more bytes than announced": (lambda: sealed(content_of(GOOD, (b"f" * 200, b"", b""))), Reason.E_IMPORT_FORMAT),
    "bytes after the last message": (lambda: sealed(content_of(GOOD) + b"x"), Reason.E_IMPORT_FORMAT),
    "another magic": (lambda: spliced(b"ZGO1", b"ZGO2"), Reason.E_IMPORT_FORMAT),
    "nothing": (lambda: sealed(b""), Reason.E_IMPORT_FORMAT),
    "a header of 4 GiB announced": (lambda: sealed(b"ZGO1\xff\xff\xff\xff"), Reason.E_IMPORT_FORMAT),
    "a message of 4 GiB announced": (
        lambda: sealed(content_of(GOOD, ()) + b"\xff\xff\xff\xff"),
        Reason.E_IMPORT_FORMAT,
    ),
}


@pytest.mark.parametrize(("make", "reason"), CONTENTS.values(), ids=CONTENTS)
def test_content_changed_and_sealed_anew_is_refused(make, reason):
    assert refusal(make()) is reason


def test_an_object_sealed_anew_for_another_importer_is_refused_there():
    other = PrivateKey.generate()
    again = sealed(content_of(GOOD), other)
    assert refusal(again, key=other) is Reason.E_IMPORT_SIGNATURE
    assert refusal(FILE, key=other) is Reason.E_IMPORT_SEAL


TIMES = {
    "made in the future": (timedelta(minutes=-7), Reason.E_IMPORT_EXPIRED),
    "clocks apart by minutes": (timedelta(minutes=-5), None),
    "29 days on the way": (timedelta(days=29), None),
    "31 days on the way": (timedelta(days=31), Reason.E_IMPORT_EXPIRED),
}


@pytest.mark.parametrize(("later", "reason"), TIMES.values(), ids=TIMES)
def test_an_object_is_taken_within_its_time(later, reason):
    if reason is None:
        assert opened(FILE, now=NOON + later).messages == MESSAGES
    else:
        assert refusal(FILE, now=NOON + later) is reason


SIZES = {
    "messages": Bounds(messages=2),
    "bytes in a message": Bounds(message_bytes=99),
    "bytes in all": Bounds(total_bytes=104),
}


@pytest.mark.req("XZ-04")
@pytest.mark.parametrize("bounds", SIZES.values(), ids=SIZES)
def test_more_than_the_bounds_is_refused(bounds):
    assert refusal(FILE, bounds=bounds) is Reason.E_IMPORT_FORMAT


def test_the_largest_file_is_enough_for_the_largest_object():
    bounds = Bounds(messages=300, message_bytes=1000, total_bytes=300_000)
    file = transport_file(tuple(bytes(1000) for _ in range(300)))
    assert len(file) <= bounds.file_bytes
    assert opened(file, bounds=bounds).header.message_count == 300


def test_a_forged_file_is_refused_before_its_messages_are_read():
    """100 MB of chunks behind a bad signature cost the reader the first of them."""
    read = []
    big = tuple(bytes(100_000) for _ in range(20))
    item = header(big, label="L1")
    forged = sealed(content_of(replace(signed(item), signature=signed(header()).signature), big))

    def blocks():
        for at in range(0, len(forged), 65536):
            read.append(at)
            yield forged[at : at + 65536]

    with pytest.raises(ZoneGateError) as caught:
        open_object(blocks(), KEY, EXTRA.anchors, now=NOON)
    assert caught.value.reason is Reason.E_IMPORT_SIGNATURE
    assert len(read) <= 3


ALLOWED = {
    Reason.E_IMPORT_FORMAT,
    Reason.E_IMPORT_SEAL,
    Reason.E_IMPORT_SIGNATURE,
    Reason.E_IMPORT_EXPIRED,
    Reason.E_TRUST_DOMAIN,
    Reason.E_CERT_CHAIN,
    Reason.E_CERT_USAGE,
    Reason.E_CERT_EXPIRED,
    Reason.E_CERT_NOT_YET_VALID,
}
CONTENT = content_of(GOOD)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_any_changed_content_gives_one_error(data):
    """Sealed anew after the change, so that the parser behind the seal is what is tried."""
    mutated = bytearray(CONTENT)
    kind = data.draw(st.sampled_from(["flip", "cut", "insert"]))
    at = data.draw(st.integers(0, len(mutated) - 1))
    if kind == "flip":
        mutated[at] ^= data.draw(st.integers(1, 255))
    elif kind == "cut":
        del mutated[at : at + data.draw(st.integers(1, 64))]
    else:
        mutated[at:at] = data.draw(st.binary(min_size=1, max_size=8))
    assert refusal(sealed(bytes(mutated))) in ALLOWED


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=400))
def test_any_content_gives_one_error(content):
    assert refusal(sealed(content)) in ALLOWED

"""Every published answer of standards.md C4, except the key exchange C4.5 (CR-11 is not built)."""

import pytest

from support import sm2_reference as reference
from support.vectors import EXAMPLE_D, EXAMPLE_K, EXAMPLE_POINT, SM, octets
from zonegate.errors import ZoneGateError
from zonegate.gm import curve, der, sm2, sm3, sm4
from zonegate.reasons import Reason

SM4 = {name: octets(value) for name, value in SM["sm4"].items()}
SIGNATURES = {row["name"]: row for row in SM["sm2"]["signature"]}


def named(rows: list[dict[str, str]]) -> dict[str, dict[str, str]]:
    return {row["name"]: row for row in rows}


@pytest.fixture(scope="module")
def key() -> sm2.PrivateKey:
    return sm2.PrivateKey.from_scalar(EXAMPLE_D)


@pytest.mark.req("CR-03")
def test_c4_0_curve() -> None:
    constants = SM["curve"]
    assert {name: int(value, 16) for name, value in constants.items()} == {
        "p": curve.P,
        "a": curve.A,
        "b": curve.B,
        "n": curve.N,
        "gx": curve.GX,
        "gy": curve.GY,
    }
    assert curve.point_problem(curve.GX, curve.GY) is None
    assert reference.multiply(curve.N, reference.G) is None


@pytest.mark.req("CR-01")
@pytest.mark.parametrize("row", named(SM["sm3"]).values(), ids=named(SM["sm3"]))
def test_c4_1_sm3(row: dict[str, str]) -> None:
    message = row["text"].encode() * int(row.get("times", 1))
    assert sm3.digest(message) == octets(row["digest"])
    assert sm3.hexdigest(message) == row["digest"].lower()
    running = sm3.new()
    for start in range(0, len(message), 100_003):
        running.update(message[start : start + 100_003])
    assert running.copy().digest() == octets(row["digest"])


@pytest.mark.req("CR-02")
def test_c4_2_sm4_block() -> None:
    assert sm4.encrypt_block(SM4["key"], SM4["key"]) == SM4["block"]


@pytest.mark.req("CR-02")
def test_c4_2_sm4_a_million_times() -> None:
    # CBC of zeros feeds each block's image into the next: the same million encryptions, in one call.
    chained = sm4.cbc_encrypt(SM4["key"], SM4["key"], bytes(16 * 1_000_000))
    assert chained[: 16 * 1_000_000][-16:] == SM4["million"]


@pytest.mark.req("CR-02")
def test_c4_2_cbc() -> None:
    twice = SM4["key"] * 2
    sealed = sm4.cbc_encrypt(SM4["key"], SM4["key"], twice)
    assert sealed[:32] == SM4["cbc"]
    assert sm4.cbc_decrypt(SM4["key"], SM4["key"], sealed) == twice


@pytest.mark.req("CR-02")
def test_c4_2_ctr() -> None:
    assert sm4.ctr(SM4["key"], SM4["key"], SM4["text"]) == SM4["ctr"]
    assert sm4.ctr(SM4["key"], SM4["key"], SM4["ctr"]) == SM4["text"]


@pytest.mark.req("CR-02")
def test_c4_2_gcm() -> None:
    assert sm4.gcm_seal(SM4["key"], SM4["nonce"], SM4["text"], SM4["aad"]) == SM4["gcm"]
    assert sm4.gcm_open(SM4["key"], SM4["nonce"], SM4["gcm"], SM4["aad"]) == SM4["text"]


@pytest.mark.req("CR-02")
def test_c4_2_gcm_empty() -> None:
    assert sm4.gcm_seal(bytes(16), bytes(12), b"", b"") == SM4["gcm_empty_tag"]


@pytest.mark.req("CR-02")
def test_c4_2_ccm() -> None:
    assert sm4.ccm_seal(SM4["key"], SM4["nonce"], SM4["text"], SM4["aad"]) == SM4["ccm"]
    assert sm4.ccm_open(SM4["key"], SM4["nonce"], SM4["ccm"], SM4["aad"]) == SM4["text"]


@pytest.mark.req("CR-03", "CR-06", "CR-07")
@pytest.mark.parametrize("row", SIGNATURES.values(), ids=SIGNATURES)
class TestSignature:
    def test_z_and_e(self, row: dict[str, str], key: sm2.PrivateKey) -> None:
        signer_id, message = row["id"].encode(), octets(row["message"])
        assert sm2.z_value(key.public_key, signer_id) == octets(row["z"])
        assert sm2.digest_with_z(key.public_key, signer_id, message) == octets(row["e"])
        assert reference.digest(reference.public(EXAMPLE_D), signer_id, message) == int(row["e"], 16)

    def test_signed_with_the_published_nonce(self, row: dict[str, str]) -> None:
        pair = reference.sign(EXAMPLE_D, int(row["e"], 16), EXAMPLE_K)
        assert pair is not None
        assert der.encode_signature(*pair) == octets(row["der"])
        assert der.decode_signature(octets(row["der"])) == pair
        if "r" in row:
            assert pair == (int(row["r"], 16), int(row["s"], 16))

    def test_verifies(self, row: dict[str, str], key: sm2.PrivateKey) -> None:
        key.public_key.verify(octets(row["der"]), octets(row["message"]), signer_id=row["id"].encode())

    def test_any_flipped_bit_is_refused(self, row: dict[str, str], key: sm2.PrivateKey) -> None:
        good, message = octets(row["der"]), octets(row["message"])
        for bit in range(0, 8 * len(good), 7):
            bad = bytearray(good)
            bad[bit // 8] ^= 1 << bit % 8
            with pytest.raises(ZoneGateError) as caught:
                key.public_key.verify(bytes(bad), message, signer_id=row["id"].encode())
            assert caught.value.reason in (Reason.E_SIGNATURE, Reason.E_SIGNATURE_FORMAT)
        with pytest.raises(ZoneGateError) as caught:
            key.public_key.verify(good, message[:-1] + bytes((message[-1] ^ 1,)), signer_id=row["id"].encode())
        assert caught.value.reason is Reason.E_SIGNATURE

    def test_the_other_id_is_refused(self, row: dict[str, str], key: sm2.PrivateKey) -> None:
        other = sm2.TLS_ID if row["id"].encode() == sm2.CERT_ID else sm2.CERT_ID
        for wrong in (other, b""):
            with pytest.raises(ZoneGateError) as caught:
                key.public_key.verify(octets(row["der"]), octets(row["message"]), signer_id=wrong)
            assert caught.value.reason is Reason.E_SIGNATURE


@pytest.mark.req("CR-04")
class TestEncryption:
    row = SM["sm2"]["encryption"]
    message = octets(row["message"])

    def test_c4_4_with_the_published_nonce(self) -> None:
        parts = reference.encrypt(reference.public(EXAMPLE_D), self.message, EXAMPLE_K)
        assert parts is not None
        (x, y), c3, c2 = parts
        assert (curve.encode_point(x, y), c3, c2) == tuple(octets(self.row[part]) for part in ("c1", "c3", "c2"))
        shared = reference.multiply(EXAMPLE_K, reference.public(EXAMPLE_D))
        assert shared == (int(self.row["x2"], 16), int(self.row["y2"], 16))
        assert der.encode_cipher(der.Cipher(x, y, c3, c2)) == octets(self.row["der"])

    def test_c4_4_der(self, key: sm2.PrivateKey) -> None:
        assert key.decrypt(octets(self.row["der"])) == self.message

    def test_c4_4_raw_c1c3c2(self, key: sm2.PrivateKey) -> None:
        raw = octets(self.row["c1"] + self.row["c3"] + self.row["c2"])
        assert key.decrypt_c1c3c2(raw) == self.message
        assert der.encode_cipher_c1c3c2(der.decode_cipher(octets(self.row["der"]))) == raw

    def test_c4_4_the_old_order_is_refused_unless_asked_for(self, key: sm2.PrivateKey) -> None:
        old = octets(self.row["c1"] + self.row["c2"] + self.row["c3"])
        with pytest.raises(ZoneGateError) as caught:
            key.decrypt_c1c3c2(old)
        assert caught.value.reason is Reason.E_CIPHERTEXT
        assert key.decrypt_obsolete_c1c2c3(old) == self.message
        with pytest.raises(ZoneGateError):
            key.decrypt_obsolete_c1c2c3(octets(self.row["c1"] + self.row["c3"] + self.row["c2"]))

    def test_c3_3_enveloped_key(self, key: sm2.PrivateKey) -> None:
        row = SM["sm2"]["enveloped"]
        envelope = der.Reader(octets(row["der"])).sequence("SM2EnvelopedKey")
        envelope.tlv()
        assert key.decrypt(envelope.tlv()) == octets(row["sm4_key"])


@pytest.mark.req("CR-12")
@pytest.mark.parametrize("row", named(SM["hmac"]).values(), ids=named(SM["hmac"]))
def test_c4_7_hmac(row: dict[str, str]) -> None:
    assert sm3.hmac(octets(row["key"]), row["text"].encode()) == octets(row["mac"])


@pytest.mark.req("CR-12")
@pytest.mark.parametrize("row", named(SM["hkdf"]).values(), ids=named(SM["hkdf"]))
def test_c4_7_hkdf(row: dict[str, str]) -> None:
    assert sm3.hkdf(octets(row["ikm"]), octets(row["salt"]), octets(row["info"]), 42) == octets(row["okm"])


@pytest.mark.req("CR-12")
def test_c4_7_pbkdf2() -> None:
    row = SM["pbkdf2"]
    found = sm3.pbkdf2(row["password"].encode(), row["salt"].encode(), row["iterations"], 64)
    assert found == octets(row["key"])


@pytest.mark.req("CR-06")
def test_c4_8_what_another_ca_signed() -> None:
    row = SM["topsec"]
    public = sm2.PublicKey.from_point(octets("04" + row["x"] + row["y"]))
    assert sm2.z_value(public, sm2.CERT_ID) == octets(row["z"])
    assert sm2.digest_with_z(public, sm2.CERT_ID, octets(row["tbs"])) == octets(row["e"])


def test_c3_2_keys_are_encoded_as_published(key: sm2.PrivateKey) -> None:
    assert key.public_key.spki == octets(SM["sm2"]["spki"])
    assert key.to_pkcs8() == octets(SM["sm2"]["pkcs8"])
    assert sm2.PublicKey.from_spki(octets(SM["sm2"]["spki"])).point == EXAMPLE_POINT
    assert sm2.PrivateKey.from_pkcs8(octets(SM["sm2"]["pkcs8"])).public_key == key.public_key


OBJECT_IDENTIFIERS = {
    "1.2.156.10197.1.301": "06082A811CCF5501822D",
    "1.2.156.10197.1.301.1": "06092A811CCF5501822D01",
    "1.2.156.10197.1.301.3": "06092A811CCF5501822D03",
    "1.2.156.10197.1.501": "06082A811CCF55018375",
    "1.2.156.10197.1.401": "06082A811CCF55018311",
    "1.2.156.10197.1.401.2": "06092A811CCF5501831102",
    "1.2.156.10197.1.104": "06072A811CCF550168",
    "1.2.156.10197.1.104.1": "06082A811CCF55016801",
    "1.2.156.10260.4.1.1": "06082A811CD014040101",
    "1.2.156.10260.4.1.4": "06082A811CD014040104",
    "2.5.4.55": "0603550437",
    "1.2.840.10045.2.1": "06072A8648CE3D0201",
    "1.3.6.1.5.5.7.3.9": "06082B06010505070309",
    "1.2.840.113549.1.9.16.1.4": "060B2A864886F70D0109100104",
}


@pytest.mark.parametrize(("dotted", "encoded"), OBJECT_IDENTIFIERS.items(), ids=OBJECT_IDENTIFIERS)
def test_c1_object_identifiers(dotted: str, encoded: str) -> None:
    assert der.oid(dotted) == octets(encoded)
    assert der.Reader(octets(encoded)).oid("oid") == dotted

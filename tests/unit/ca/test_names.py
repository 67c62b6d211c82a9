"""Names (CE-09) and the ASN.1 module: round trips and the contract of every decoder."""

import unicodedata

import pytest
from cryptography import x509
from hypothesis import given, settings
from hypothesis import strategies as st

from zonegate.ca import asn1
from zonegate.ca.names import SubjectName, parse_name

# Letters as governments use them, in normal form C.
TEXT = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), min_size=1, max_size=64).filter(
    lambda text: unicodedata.normalize("NFC", text) == text
)


@pytest.mark.req("CE-09")
@settings(max_examples=100)
@given(TEXT, TEXT, st.none() | TEXT)
def test_round_trip(organization: str, common_name: str, unit: str | None) -> None:
    name = SubjectName(organization, common_name, unit)
    assert parse_name(name.der) == name


@pytest.mark.req("CE-09")
def test_chinese_names_as_encoded() -> None:
    name = SubjectName("北京市某某区政务服务管理局", "人口信息核验服务", "信息中心")
    attributes = asn1.decode_name(name.der)
    assert [item.value.decode() for item in attributes] == ["CN", name.organization, name.unit, name.common_name]
    assert [item.tag for item in attributes] == [0x13, 0x0C, 0x0C, 0x0C]
    assert str(name) == "C=CN, O=北京市某某区政务服务管理局, OU=信息中心, CN=人口信息核验服务"


REFUSED = {
    "empty": "",
    "65 characters": "名" * 65,
    "newline": "a\nb",
    "zero width": "a\u200bb",
    "override": "a\u202eb",
    "unassigned": "a\u0378",
    "private use": "a\ue000",
    "space before": " a",
    "space after": "a ",
    "not in normal form": "e\u0301",
}


@pytest.mark.req("CE-09")
@pytest.mark.parametrize("text", REFUSED.values(), ids=REFUSED)
def test_refused_text(text: str) -> None:
    for make in (lambda: SubjectName(text, "x"), lambda: SubjectName("x", text), lambda: SubjectName("x", "x", text)):
        with pytest.raises(ValueError, match=r"^(O|CN|OU): "):
            make()


def test_64_chinese_characters_fit() -> None:
    name = SubjectName("名" * 64, "称" * 64)
    assert parse_name(name.der) == name


DECODERS = [
    asn1.decode_name,
    asn1.decode_signed,
    asn1.decode_tbs_certificate,
    asn1.decode_request_info,
    asn1.decode_printable,
    parse_name,
]


@pytest.mark.parametrize("decode", DECODERS, ids=lambda decode: decode.__name__)
@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=80))
def test_decoders_give_a_value_or_value_error(decode, data: bytes) -> None:
    try:
        decode(data)
    except ValueError:
        return


def test_a_multi_valued_rdn_is_refused() -> None:
    rdn = x509.RelativeDistinguishedName(
        [
            x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, "a"),
            x509.NameAttribute(x509.NameOID.COMMON_NAME, "b"),
        ]
    )
    with pytest.raises(ValueError, match="2 attributes"):
        parse_name(x509.Name([rdn]).public_bytes())

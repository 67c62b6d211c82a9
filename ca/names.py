"""The subject and issuer names of certificates: C=CN, O=organ, OU, CN (CE-09). Pure: text or DER in, value out.

What is written is PrintableString for C and UTF8String for the rest; a request may also use PrintableString there.
Whether the organ really bears the name is the registration authority's question, not this module's.
"""

import unicodedata
from dataclasses import dataclass

from zonegate.ca.asn1 import NameAttribute, decode_name, encode_name

COUNTRY = "CN"
PRINTABLE_STRING = 0x13
UTF8_STRING = 0x0C
# X.520 upper bounds, in characters.
ATTRIBUTE_MAX_CHARS = 64

OID_COUNTRY = "2.5.4.6"
OID_ORGANIZATION = "2.5.4.10"
OID_UNIT = "2.5.4.11"
OID_COMMON_NAME = "2.5.4.3"
_LABELS = {OID_COUNTRY: "C", OID_ORGANIZATION: "O", OID_UNIT: "OU", OID_COMMON_NAME: "CN"}
# The order of the attributes; OU may be left out.
_ORDER = (OID_COUNTRY, OID_ORGANIZATION, OID_UNIT, OID_COMMON_NAME)


@dataclass(frozen=True, slots=True)
class SubjectName:
    """A checked name; `ValueError` names the attribute that is wrong."""

    organization: str
    common_name: str
    unit: str | None = None

    def __post_init__(self) -> None:
        check_text("O", self.organization)
        check_text("CN", self.common_name)
        if self.unit is not None:
            check_text("OU", self.unit)

    @property
    def der(self) -> bytes:
        """The name as CE-09 writes it."""
        attributes = [NameAttribute(OID_COUNTRY, PRINTABLE_STRING, COUNTRY.encode())]
        texts = ((OID_ORGANIZATION, self.organization), (OID_UNIT, self.unit), (OID_COMMON_NAME, self.common_name))
        attributes += [NameAttribute(oid, UTF8_STRING, text.encode()) for oid, text in texts if text is not None]
        return encode_name(attributes)

    def __str__(self) -> str:
        unit = "" if self.unit is None else f", OU={self.unit}"
        return f"C={COUNTRY}, O={self.organization}{unit}, CN={self.common_name}"


def check_text(label: str, text: str) -> None:
    """Refuse what cannot stand in a name: empty, too long, unnormalised, or with invisible characters."""
    if not 1 <= len(text) <= ATTRIBUTE_MAX_CHARS:
        msg = f"{label}: has {len(text)} characters, 1 to {ATTRIBUTE_MAX_CHARS} are allowed"
        raise ValueError(msg)
    # Control, format (bidirectional overrides) and unassigned characters make one name look like another.
    bad = next((char for char in text if unicodedata.category(char)[0] == "C"), None)
    if bad is not None:
        msg = f"{label}: holds the invisible character U+{ord(bad):04X}, only visible characters are allowed"
        raise ValueError(msg)
    if text != unicodedata.normalize("NFC", text) or text != text.strip():
        msg = f"{label}: is not in Unicode normal form C without spaces at its ends"
        raise ValueError(msg)


def parse_name(der: bytes) -> SubjectName:
    """Return the name in `der`; `ValueError` names the attribute that is missing, repeated, foreign or wrong."""
    texts: dict[str, str] = {}
    for attribute in decode_name(der):
        label = _LABELS.get(attribute.oid)
        if label is None:
            msg = f"{attribute.oid}: is not an attribute of a name here, allowed are C, O, OU, CN"
            raise ValueError(msg)
        if attribute.oid in texts:
            msg = f"{label}: stands twice, once is allowed"
            raise ValueError(msg)
        texts[attribute.oid] = _text(label, attribute)
    found = tuple(texts)
    if found != tuple(oid for oid in _ORDER if oid in texts):
        msg = f"order: is {', '.join(_LABELS[oid] for oid in found)}, allowed is C, O, OU, CN"
        raise ValueError(msg)
    for oid in (OID_COUNTRY, OID_ORGANIZATION, OID_COMMON_NAME):
        if oid not in texts:
            msg = f"{_LABELS[oid]}: is missing"
            raise ValueError(msg)
    if texts[OID_COUNTRY] != COUNTRY:
        msg = f"C: is {texts[OID_COUNTRY][:8]!r}, allowed is {COUNTRY}"
        raise ValueError(msg)
    return SubjectName(texts[OID_ORGANIZATION], texts[OID_COMMON_NAME], texts.get(OID_UNIT))


def _text(label: str, attribute: NameAttribute) -> str:
    if attribute.tag not in (UTF8_STRING, PRINTABLE_STRING):
        msg = f"{label}: has string type 0x{attribute.tag:02x}, UTF8String and PrintableString are allowed"
        raise ValueError(msg)
    try:
        return attribute.value.decode("utf-8" if attribute.tag == UTF8_STRING else "ascii")
    except UnicodeDecodeError as exc:
        msg = f"{label}: is not text of its string type"
        raise ValueError(msg) from exc

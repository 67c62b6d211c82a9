"""[d] The canonical JSON of bundles and their signatures: `zonegate.canonical`, with a bundle's refusal.

Pure. What is not in canonical form is E_BUNDLE_FORMAT.
"""

from zonegate.canonical import TIME_FORM, Wire, encode, from_base64, parse_instant, to_base64
from zonegate.canonical import decode as _decode
from zonegate.reasons import Reason

__all__ = ["TIME_FORM", "decode", "encode", "from_base64", "parse_instant", "to_base64"]


def decode(raw: bytes, wire: type[Wire], *, limit_bytes: int, what: str) -> Wire:
    """Return the value in `raw`; `ZoneGateError(E_BUNDLE_FORMAT)` unless `raw` is its canonical form."""
    return _decode(raw, wire, limit_bytes=limit_bytes, what=what, reason=Reason.E_BUNDLE_FORMAT)

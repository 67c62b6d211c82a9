"""[d] What a gateway reads from a call's metadata, and what of it may go on.

Names and rules: architecture section 3, "Metadata". Pure: header fields in, values or `ZoneGateError(E_METADATA)` out.
Text values may carry UTF-8 percent-encoded, since gRPC metadata is ASCII.
"""

import re
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from zonegate.errors import ZoneGateError
from zonegate.gateway.http2.headers import Field, HeaderBlock, literal
from zonegate.reasons import GrpcCode, Reason

RESOURCE = b"zg-resource"
PURPOSE = b"zg-purpose"
CASE = b"zg-case"
LABEL = b"zg-label"
IDEMPOTENCY_KEY = b"zg-idempotency-key"
DECLARED_BY = b"zg-declared-by"
CROSSING = b"zg-crossing"
TICKET = b"zg-ticket-bin"
TICKET_REF = b"zg-ticket-ref"
CALLER_ORGAN = b"zg-caller-organ"
CALLER_SYSTEM = b"zg-caller-system"
RECEIPT = b"zg-receipt-bin"
REASON = b"zg-reason"
STATUS_DETAILS = b"grpc-status-details-bin"

# Names that only zonegate's own hops may set; from a system they are stripped and counted.
RESERVED_PREFIXES = (
    b"zg-peer-",
    b"zg-ticket",
    b"zg-caller-",
    b"zg-crossing",
    b"zg-receipt",
    b"zg-reason",
    b"zg-declared-by",
)
_FROM_CONNECTORS = frozenset({TICKET, TICKET_REF, DECLARED_BY})

# Fields of the gRPC protocol that every hop passes on.
GRPC_REQUEST = frozenset({b"te", b"content-type", b"grpc-encoding", b"grpc-accept-encoding"})
GRPC_RESPONSE = frozenset({b":status", b"content-type", b"grpc-encoding", b"grpc-accept-encoding"})
GRPC_TRAILERS = frozenset({b":status", b"content-type", b"grpc-status", b"grpc-message", b"grpc-status-details-bin"})

VALUE_LIMIT_BYTES = 512
PATH_LIMIT_BYTES = 1024
# Each hop adds fields (a ticket, a crossing id) and the next hop's bound on a header list is no larger: what comes in
# must leave room for them, or one caller's metadata would end a connection that many calls share.
REQUEST_LIMIT_BYTES = 16 * 1024
VARYING_LIMIT_BYTES = 3 * 1024
RESPONSE_LIMIT_BYTES = 24 * 1024
TICKET_LIMIT_BYTES = 12 * 1024

_ONCE = frozenset({IDEMPOTENCY_KEY, CROSSING, b"grpc-timeout"})
_TEXT_NAMES = {RESOURCE: "resource", PURPOSE: "purpose", CASE: "case", LABEL: "label"}
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_CROSSING_SHAPE = re.compile(rb"[0-9a-f]{28}")
_HEX = frozenset(b"0123456789abcdef")
_TIMEOUT_SHAPE = re.compile(rb"([0-9]{1,8})([HMSmun])")
_CROSSING_HEAD = literal(CROSSING, b"0" * 28).wire[:-28]
_TIMEOUT_SECONDS = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}


@dataclass(frozen=True, slots=True)
class RequestMetadata:
    """What the stable fields of a request say; texts are decoded, the rest is as received."""

    path: str
    resource: str | None
    purpose: str | None
    case: str | None
    label: str | None
    declared_by_connector: bool
    protocol: tuple[Field, ...]
    others: tuple[Field, ...]
    # How many fields have a name that only zonegate's own hops may set.
    spoofed: int


def is_reserved(name: bytes) -> bool:
    """Tell whether only zonegate's own hops may set metadata of this name."""
    return name.startswith(RESERVED_PREFIXES)


def read_request(block: HeaderBlock) -> RequestMetadata:
    """Return what the fields of `block` that do not vary from call to call say.

    Raises `ZoneGateError`: E_HTTP2 for what is not a gRPC request, E_METADATA for a value of a wrong form.
    """
    texts: dict[str, str] = {}
    protocol: list[Field] = []
    others: list[Field] = []
    path = ""
    declared_by_connector = False
    spoofed = 0
    size = 0
    for field in block.stable:
        name, value = field.name, field.value
        size += field.size if name != TICKET else 0
        if name in GRPC_REQUEST:
            _check_length(name, value, VALUE_LIMIT_BYTES)
            protocol.append(field)
        elif name == b":path":
            _check_length(name, value, PATH_LIMIT_BYTES)
            path = value.decode("ascii", "replace")
        elif name in _TEXT_NAMES:
            key = _TEXT_NAMES[name]
            if key in texts:
                raise _wrong(name, "appears twice, once is allowed")
            _check_length(name, value, VALUE_LIMIT_BYTES)
            # A label is percent-decoded by its own parser, part by part.
            texts[key] = value.decode("ascii", "replace") if name == LABEL else read_text(name, value)
        elif is_reserved(name):
            if name == DECLARED_BY:
                declared_by_connector = value == b"connector"
            spoofed += name not in _FROM_CONNECTORS
        elif not name.startswith(b":"):
            others.append(field)
    if size > REQUEST_LIMIT_BYTES:
        raise ZoneGateError(
            Reason.E_METADATA, f"the metadata is {size} bytes, at most {REQUEST_LIMIT_BYTES} are allowed"
        )
    if len({field.name for field in protocol}) != len(protocol):
        raise ZoneGateError(Reason.E_METADATA, "content-type, te or grpc-encoding appears twice, once is allowed")
    _check_grpc(block)
    return RequestMetadata(
        path=path,
        resource=texts.get("resource"),
        purpose=texts.get("purpose"),
        case=texts.get("case"),
        label=texts.get("label"),
        declared_by_connector=declared_by_connector,
        protocol=tuple(protocol),
        others=tuple(others),
        spoofed=spoofed,
    )


def check_varying(block: HeaderBlock) -> None:
    """Refuse (E_METADATA) varying fields that are too long together, or that two hops could read differently."""
    if not block.volatile:
        return
    size = 0
    once = set()
    for field in block.volatile:
        size += field.size
        if field.name in _ONCE:
            if field.name in once:
                raise _wrong(field.name, "appears twice, once is allowed")
            once.add(field.name)
    if size > VARYING_LIMIT_BYTES:
        raise ZoneGateError(
            Reason.E_METADATA, f"the varying metadata is {size} bytes, at most {VARYING_LIMIT_BYTES} are allowed"
        )


def check_response(block: HeaderBlock) -> None:
    """Refuse (E_UPSTREAM_RESET) an answer's metadata that the way back could not carry."""
    size = block.part.size
    for field in block.volatile:
        size += field.size
    if size > RESPONSE_LIMIT_BYTES:
        detail = f"the answer's metadata is {size} bytes, at most {RESPONSE_LIMIT_BYTES} are allowed"
        raise ZoneGateError(Reason.E_UPSTREAM_RESET, detail)


def read_status(block: HeaderBlock) -> int:
    """Return the gRPC status that a response ends with; E_UPSTREAM_RESET when there is none, or more than one."""
    head = block.get(b":status")
    found = block.values(b"grpc-status")
    if head is not None and head != b"200":
        raise ZoneGateError(Reason.E_UPSTREAM_RESET, f"the next hop answered HTTP status {head.decode('ascii')}")
    if len(found) != 1 or not found[0].isdigit() or len(found[0]) > 2:
        raise ZoneGateError(
            Reason.E_UPSTREAM_RESET, "the next hop ended the call without a grpc-status, or with several"
        )
    status = int(found[0])
    # What no client knows it takes for UNKNOWN.
    return status if status <= GrpcCode.UNAUTHENTICATED else int(GrpcCode.UNKNOWN)


def _check_length(name: bytes, value: bytes, limit: int) -> None:
    if len(value) > limit:
        raise _wrong(name, f"is {len(value)} bytes, at most {limit} are allowed")


def _check_grpc(block: HeaderBlock) -> None:
    if block.get(b":method") != b"POST":
        raise ZoneGateError(Reason.E_HTTP2, ":method: a gRPC request is a POST")
    content_type = block.get(b"content-type") or b""
    if content_type != b"application/grpc" and not content_type.startswith(
        (b"application/grpc+", b"application/grpc;")
    ):
        raise ZoneGateError(Reason.E_HTTP2, "content-type: is not application/grpc")


def read_text(name: bytes, value: bytes) -> str:
    """Return the text of a metadata value, percent-decoded; E_METADATA when it is too long or not clean text."""
    _check_length(name, value, VALUE_LIMIT_BYTES)
    try:
        text = unquote_to_bytes(value).decode()
    except UnicodeDecodeError:
        raise _wrong(name, "is not UTF-8 (percent-encoded)") from None
    if not text or _CONTROL.search(text):
        raise _wrong(name, "is empty or holds control characters")
    return text


def quoted(text: str) -> bytes:
    """Percent-encode what gRPC metadata cannot carry: everything but printable ASCII, and the percent sign."""
    return b"".join(
        bytes((byte,)) if 0x20 < byte < 0x7F and byte != 0x25 else b"%%%02X" % byte for byte in text.encode()
    )


def read_binary(name: bytes, value: bytes) -> bytes:
    """Return the bytes of a `-bin` value, with or without padding; E_METADATA when it is too long or not base64."""
    if len(value) > TICKET_LIMIT_BYTES:
        raise _wrong(name, f"is {len(value)} characters, at most {TICKET_LIMIT_BYTES} are allowed")
    try:
        return b64decode(value + b"=" * (-len(value) % 4), validate=True)
    except Base64Error:
        raise _wrong(name, "is not base64") from None


def write_binary(value: bytes) -> bytes:
    """Return the metadata form of binary `value`."""
    return b64encode(value).rstrip(b"=")


def crossing_wire(crossing: str) -> bytes:
    """Return the encoded field that carries a crossing id."""
    return _CROSSING_HEAD + crossing.encode()


def _wrong(name: bytes, problem: str) -> ZoneGateError:
    return ZoneGateError(Reason.E_METADATA, f"{name.decode('ascii', 'replace')}: {problem}")


def read_crossing(block: HeaderBlock) -> str:
    """Return the crossing id that the previous gateway gave; E_METADATA when it is missing or of another form."""
    value = block.get(CROSSING)
    if value is None or not _CROSSING_SHAPE.fullmatch(value):
        raise _wrong(CROSSING, "is missing or not 28 hexadecimal digits")
    return value.decode()


def read_timeout(value: bytes) -> float:
    """Return the seconds of a `grpc-timeout`; E_METADATA when it is not 1 to 8 digits and a unit."""
    match = _TIMEOUT_SHAPE.fullmatch(value)
    if match is None:
        raise _wrong(b"grpc-timeout", "is not 1 to 8 digits and one of H M S m u n")
    return int(match[1]) * _TIMEOUT_SECONDS[match[2]]


def read_idempotency_key(block: HeaderBlock) -> str:
    """Return the caller's idempotency key, or an empty string; E_METADATA when it is too long or not clean text."""
    value = block.get(IDEMPOTENCY_KEY)
    return "" if value is None else read_text(IDEMPOTENCY_KEY, value)


def read_trace(block: HeaderBlock) -> str:
    """Return the trace id of a W3C `traceparent`, or an empty string: a foreign trace is a hint, never an error."""
    value = block.get(b"traceparent")
    if value is None or len(value) != 55 or not _HEX.issuperset(trace := value[3:35]):
        return ""
    return trace.decode()

"""Receipts as protobuf messages and back: the only module of the boundary that knows messages."""

from google.protobuf.message import DecodeError

from zonegate.errors import ZoneGateError
from zonegate.gateway.boundary.receipt import STATEMENT, Accepted, Receipt, format_instant, parse_instant
from zonegate.proto.boundary.v1 import boundary_pb2
from zonegate.reasons import Reason

RECEIPT_LIMIT_BYTES = 64 << 10


def receipt_to_bytes(receipt: Receipt) -> bytes:
    """Return the serialized `zonegate.boundary.v1.Receipt`."""
    accepted = receipt.accepted
    message = boundary_pb2.Receipt(
        object_id=accepted.object_id,
        crossing_id=accepted.crossing,
        digest=accepted.digest,
        message_count=accepted.message_count,
        message_bytes=accepted.message_bytes,
        accepted_at=format_instant(accepted.accepted_at),
        caller=accepted.caller,
        resource=accepted.resource,
        path=accepted.path,
        gateway=accepted.gateway,
        statement=STATEMENT,
        signature=receipt.signature,
        certificates=receipt.certificates,
    )
    return message.SerializeToString(deterministic=True)


def receipt_from_bytes(data: bytes) -> Receipt:
    """Return the receipt in a serialized message; E_IMPORT_FORMAT says what is wrong. Verify it before believing it."""
    if len(data) > RECEIPT_LIMIT_BYTES:
        detail = f"receipt: has {len(data)} bytes, {RECEIPT_LIMIT_BYTES} are allowed"
        raise ZoneGateError(Reason.E_IMPORT_FORMAT, detail)
    try:
        message = boundary_pb2.Receipt.FromString(data)
        accepted_at = parse_instant(message.accepted_at)
    except (DecodeError, ValueError) as exc:
        raise ZoneGateError(Reason.E_IMPORT_FORMAT, f"receipt: {str(exc)[:200]}") from exc
    # The statement is signed as this constant, so another one could be neither believed nor verified.
    if message.statement != STATEMENT:
        detail = f"statement: found {message.statement[:80]!r}, allowed is {STATEMENT!r}"
        raise ZoneGateError(Reason.E_IMPORT_FORMAT, detail)
    accepted = Accepted(
        object_id=message.object_id,
        crossing=message.crossing_id,
        digest=message.digest,
        message_count=message.message_count,
        message_bytes=message.message_bytes,
        accepted_at=accepted_at,
        caller=message.caller,
        resource=message.resource,
        path=message.path,
        gateway=message.gateway,
    )
    return Receipt(accepted, bytes(message.signature), tuple(message.certificates))

"""Protobuf messages of the data path, to and from plain values: the only module of it that knows messages.

Three messages are spoken here without grpcio: `google.rpc.Status` in refusals, `grpc.health.v1` at a connector's edge,
and `zonegate.evidence.v1.SignedHead` between gateways. What they mean is decided by those who call. The receipts of the
one-way export have a module of their own, `boundary.convert`.
"""

from base64 import b64decode
from binascii import Error as Base64Error

from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

from zonegate.errors import ZoneGateError
from zonegate.proto.evidence.v1.evidence_pb2 import SignedHead
from zonegate.reasons import REGISTRY, Reason

ERROR_DOMAIN = "zonegate"
HEALTH_SERVING: bytes = HealthCheckResponse(status=HealthCheckResponse.SERVING).SerializeToString()
HEALTH_NOT_SERVING: bytes = HealthCheckResponse(status=HealthCheckResponse.NOT_SERVING).SerializeToString()


def refusal_to_bytes(reason: Reason, message: str, crossing: str) -> bytes:
    """Return the `google.rpc.Status` of a refusal: an `ErrorInfo`, and what to do in two languages."""
    info = REGISTRY[reason]
    status = status_pb2.Status(code=info.grpc, message=message)
    error = error_details_pb2.ErrorInfo(reason=reason.value, domain=ERROR_DOMAIN)
    error.metadata["retryable"] = "true" if info.retryable else "false"
    error.metadata["executed"] = info.executed.value
    error.metadata["owner"] = info.owner.value
    if crossing:
        error.metadata["crossing"] = crossing
    hints = (
        error_details_pb2.LocalizedMessage(locale="en", message=f"{info.en}; {info.hint_en}"),
        error_details_pb2.LocalizedMessage(locale="zh-CN", message=f"{info.zh}；{info.hint_zh}"),
    )
    for part in (error, *hints):
        packed = AnyMessage()
        packed.Pack(part)
        status.details.append(packed)
    return bytes(status.SerializeToString())


def speaks_as_gateway(details: bytes) -> bool:
    """Tell whether base64 status details carry an `ErrorInfo` of zonegate's domain, or cannot be read at all."""
    try:
        status = status_pb2.Status.FromString(b64decode(details + b"=" * (-len(details) % 4)))
        for part in status.details:
            info = error_details_pb2.ErrorInfo()
            if part.Unpack(info) and info.domain == ERROR_DOMAIN:
                return True
    except (Base64Error, DecodeError):
        return True
    return False


def health_service_from_bytes(data: bytes) -> str:
    """Return the service that a `grpc.health.v1.HealthCheckRequest` asks about; E_SCHEMA when it is none."""
    try:
        return str(HealthCheckRequest.FromString(data).service)
    except DecodeError as exc:
        raise ZoneGateError(Reason.E_SCHEMA, "the message is not a grpc.health.v1.HealthCheckRequest") from exc


def head_to_bytes(head: bytes) -> bytes:
    """Return the message that carries an evidence head; an empty one says that there is none yet."""
    return bytes(SignedHead(head=head).SerializeToString())


def head_from_bytes(data: bytes) -> bytes:
    """Return the head in a `zonegate.evidence.v1.SignedHead`, perhaps empty; E_SCHEMA when it is no such message."""
    try:
        return bytes(SignedHead.FromString(data).head)
    except DecodeError as exc:
        raise ZoneGateError(Reason.E_SCHEMA, "head: is not a zonegate.evidence.v1.SignedHead") from exc

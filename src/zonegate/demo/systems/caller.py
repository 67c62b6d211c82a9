"""A department system that calls: stock grpcio and the services' own protos, nothing else.

By hand: `caller.py ADDRESS Population/Verify '{"number": "…"}' --purpose 信用核查`; exit 1 if the call was refused.
With --lines it takes commands on stdin (`lines`). What it reports is what any gRPC client sees: status, the ErrorInfo
in `grpc-status-details-bin`, the crossing's number.
"""

import argparse
import json
import sys
import time
from base64 import b64encode
from pathlib import Path
from typing import Any
from urllib.parse import quote

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent / "protos")]

import grpc
import lines
import notice_pb2
import population_pb2
import statistics_pb2
from google.protobuf.empty_pb2 import Empty
from google.protobuf.json_format import MessageToDict, ParseDict, ParseError
from google.rpc import error_details_pb2, status_pb2

SECONDS = 15.0
# path -> request, response, whether the response is a stream
METHODS: dict[str, tuple[Any, Any, bool]] = {
    "/example.population.v1.Population/Verify": (population_pb2.Citizen, population_pb2.Verdict, False),
    "/example.population.v1.Population/List": (population_pb2.ListRequest, population_pb2.Citizen, True),
    "/example.population.v1.Clues/Get": (population_pb2.ClueRequest, population_pb2.Clue, False),
    "/example.notice.v1.Notices/Get": (notice_pb2.NoticeRequest, notice_pb2.Notice, False),
    "/example.notice.v1.Notices/Watch": (notice_pb2.NoticeRequest, notice_pb2.Notice, True),
    "/example.notice.v1.Notices/Post": (notice_pb2.Notice, notice_pb2.Posted, False),
    "/example.statistics.v1.Statistics/Submit": (statistics_pb2.Figure, Empty, False),
    "/example.statistics.v1.Statistics/Read": (statistics_pb2.Query, statistics_pb2.Figure, False),
}

UNKNOWN: tuple[Any, Any, bool] = (Empty, Empty, False)


def full_path(name: str) -> str:
    """Return the path that `Service/Method` is short for; a whole path stays as it is."""
    return next((path for path in METHODS if path.endswith("." + name)), name)


def _streams(command: lines.Answer) -> bool:
    return METHODS.get(full_path(command["path"]), UNKNOWN)[2]


def as_metadata(fields: dict[str, str]) -> tuple[tuple[str, str], ...]:
    """Return gRPC metadata; text that is not ASCII goes percent-encoded, as zonegate's docs/calling say."""
    return tuple((name, value if value.isascii() else quote(value)) for name, value in fields.items())


def reason_of(trailers: Any) -> tuple[str, str]:
    """Return reason and crossing out of the status details, empty where there are none."""
    for name, value in trailers or ():
        if name == "grpc-status-details-bin":
            for detail in status_pb2.Status.FromString(value).details:
                info = error_details_pb2.ErrorInfo()
                if detail.Unpack(info):
                    return info.reason, info.metadata.get("crossing", "")
    return "", ""


def refused(error: Any) -> lines.Answer:
    """Return what a failed call tells its client."""
    reason, crossing = reason_of(error.trailing_metadata())
    return {"status": error.code().name, "reason": reason, "crossing": crossing, "detail": error.details()}


class Caller:
    """One channel to the system's own connector."""

    def __init__(self, address: str) -> None:
        options = [("grpc.enable_retries", 0), ("grpc.enable_http_proxy", 0), ("grpc.max_reconnect_backoff_ms", 500)]
        self._channel = grpc.insecure_channel(address, options=options)
        self._stream: Any = None

    def call(self, command: lines.Answer) -> lines.Answer:
        """Make the call `times` times, one after another."""
        return {"results": [self._once(command) for _ in range(command.get("times", 1))]}

    def open(self, command: lines.Answer) -> lines.Answer:
        """Begin a stream, read its first message and leave it open."""
        self._stream = self._start(command, None)
        try:
            next(self._stream)
        except grpc.RpcError as error:
            return {"results": [refused(error)]}
        return {"results": [self._accepted(self._stream, 1)]}

    def end(self, _command: lines.Answer) -> lines.Answer:
        """Read the open stream to its end, and say when that was on the machine's monotonic clock."""
        count = 0
        try:
            for _ in self._stream:
                count += 1
        except grpc.RpcError as error:
            return {**refused(error), "ended_at": time.monotonic(), "messages": count}
        return {"status": "OK", "reason": "OK", "ended_at": time.monotonic(), "messages": count}

    def _start(self, command: lines.Answer, seconds: float | None) -> Any:
        path = full_path(command["path"])
        request_type, response_type, streams = METHODS.get(path, UNKNOWN)
        make = self._channel.unary_stream if streams else self._channel.unary_unary
        method: Any = make(path, request_type.SerializeToString, response_type.FromString)
        request = ParseDict(command.get("message", {}), request_type())
        # What a newer or careless client would add: bytes of fields that the proto does not know.
        request.MergeFromString(bytes.fromhex(command.get("extra", "")))
        metadata = as_metadata(command.get("metadata", {}))
        if streams:
            return method(request, metadata=metadata, timeout=seconds, wait_for_ready=True)
        return method.future(request, metadata=metadata, timeout=seconds, wait_for_ready=True)

    def _once(self, command: lines.Answer) -> lines.Answer:
        call = self._start(command, SECONDS)
        try:
            received = list(call) if _streams(command) else [call.result()]
        except grpc.RpcError as error:
            return refused(error)
        answer = self._accepted(call, len(received))
        receipt = dict(call.trailing_metadata() or ()).get("zg-receipt-bin")
        if isinstance(receipt, bytes):
            answer["receipt"] = b64encode(receipt).decode()
        if len(received) == 1:
            answer["answer"] = MessageToDict(received[0])
        return answer

    def _accepted(self, call: Any, count: int) -> lines.Answer:
        crossing = dict(call.initial_metadata()).get("zg-crossing", "")
        return {"status": "OK", "reason": "OK", "crossing": crossing, "messages": count}


def by_hand(arguments: argparse.Namespace) -> int:
    """One call, told in lines for a person."""
    try:
        message = json.loads(arguments.message)
        ParseDict(message, METHODS.get(full_path(arguments.path), UNKNOWN)[0]())
    except (ValueError, ParseError) as error:
        print(f"message: is not the JSON of a request of {arguments.path}: {error}", file=sys.stderr)
        return 2
    fields = {f"zg-{name}": getattr(arguments, name) for name in ("purpose", "label", "case")}
    command = {
        "path": arguments.path,
        "message": message,
        "metadata": {name: value for name, value in fields.items() if value is not None},
    }
    (result,) = Caller(arguments.address).call(command)["results"]
    print(result["status"], result["reason"])
    print("crossing", result["crossing"] or "-")
    for name in ("detail", "messages", "answer"):
        if name in result:
            print(name, result[name])
    return 0 if result["status"] == "OK" else 1


def main() -> int:
    """Steered by stdin, or one call by hand."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("address")
    parser.add_argument("path", nargs="?", help="Service/Method")
    parser.add_argument("message", nargs="?", default="{}", help="the request as JSON")
    parser.add_argument("--purpose")
    parser.add_argument("--label")
    parser.add_argument("--case")
    parser.add_argument("--lines", action="store_true")
    arguments = parser.parse_args()
    if not arguments.lines:
        if arguments.path is None:
            parser.error("a path is needed")
        return by_hand(arguments)
    caller = Caller(arguments.address)
    lines.obey({"call": caller.call, "open": caller.open, "end": caller.end})
    return 0


if __name__ == "__main__":
    sys.exit(main())

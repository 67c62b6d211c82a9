"""The public notice service 公告 of the internet zone: stock grpcio."""

import sys
import threading
from collections.abc import Iterator
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent / "protos")]

import grpc
import notice_pb2 as messages
import notice_pb2_grpc as stubs
import serving

EVERY_SECONDS = 0.2


class Notices(stubs.NoticesServicer):
    """Three notices, for ever."""

    def __init__(self, seen: serving.Seen) -> None:
        self._seen = seen

    def Get(self, request: messages.NoticeRequest, context: grpc.ServicerContext) -> messages.Notice:  # noqa: N802 - gRPC's name
        """One notice."""
        self._seen.note(context)
        return messages.Notice(number=request.number, title=f"公告 {request.number}")

    def Watch(self, request: messages.NoticeRequest, context: grpc.ServicerContext) -> Iterator[messages.Notice]:  # noqa: N802
        """A notice every now and then, until the call ends."""
        self._seen.note(context)
        ended = threading.Event()
        context.add_callback(ended.set)
        number = request.number
        while not ended.is_set():
            yield messages.Notice(number=number, title=f"公告 {number}")
            number += 1
            ended.wait(EVERY_SECONDS)

    def Post(self, request: messages.Notice, context: grpc.ServicerContext) -> messages.Posted:  # noqa: N802
        """A notice from another department."""
        self._seen.note(context)
        return messages.Posted(number=request.number)


def add(server: grpc.Server, seen: serving.Seen) -> None:
    """Register the service."""
    stubs.add_NoticesServicer_to_server(Notices(seen), server)


if __name__ == "__main__":
    serving.run(add)

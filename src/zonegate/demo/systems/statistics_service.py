"""The statistics collector 统计汇集 of the intranet: stock grpcio; what comes in by Submit is kept in memory."""

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent / "protos")]

import grpc
import serving
import statistics_pb2 as messages
import statistics_pb2_grpc as stubs
from google.protobuf.empty_pb2 import Empty


class Statistics(stubs.StatisticsServicer):
    """The figures that have come in."""

    def __init__(self, seen: serving.Seen) -> None:
        self._seen = seen
        self._figures: dict[str, messages.Figure] = {}

    def Submit(self, request: messages.Figure, context: grpc.ServicerContext) -> Empty:  # noqa: N802 - gRPC's name
        """Keep a figure."""
        self._seen.note(context)
        self._figures[request.indicator] = request
        return Empty()

    def Read(self, request: messages.Query, context: grpc.ServicerContext) -> messages.Figure:  # noqa: N802
        """Give a figure to a system of the same zone."""
        self._seen.note(context)
        return self._figures.get(request.indicator, messages.Figure())


def add(server: grpc.Server, seen: serving.Seen) -> None:
    """Register the service."""
    stubs.add_StatisticsServicer_to_server(Statistics(seen), server)


if __name__ == "__main__":
    serving.run(add)

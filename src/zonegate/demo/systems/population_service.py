"""The police's population verification service 人口核验: stock grpcio, synthetic citizens, no names.

Numbers are generated: area 999999, which no division has, with the check character of GB 11643 (ISO 7064 MOD 11-2).
"""

import sys
from collections.abc import Iterator
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent / "protos")]

import grpc
import population_pb2 as messages
import population_pb2_grpc as stubs
import serving

AREA = "999999"
WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
CHECK = "10X98765432"
CITIZENS = 1000


def numbered(body: str) -> str:
    """Return the 17 digits with their check character."""
    return body + CHECK[sum(int(digit) * weight for digit, weight in zip(body, WEIGHTS, strict=True)) % 11]


def citizen(index: int) -> messages.Citizen:
    """Return synthetic citizen `index`, always the same one."""
    birth = f"{1950 + index % 60}{1 + index % 12:02d}{1 + index % 28:02d}"
    return messages.Citizen(number=numbered(f"{AREA}{birth}{index % 1000:03d}"), birth_date=birth)


REGISTER = {entry.number: entry.birth_date for entry in map(citizen, range(CITIZENS))}


class Population(stubs.PopulationServicer):
    """Answers from the register."""

    def __init__(self, seen: serving.Seen) -> None:
        self._seen = seen

    def Verify(self, request: messages.Citizen, context: grpc.ServicerContext) -> messages.Verdict:  # noqa: N802 - gRPC's name
        """Whether number and date of birth belong together."""
        self._seen.note(context)
        return messages.Verdict(matches=REGISTER.get(request.number) == request.birth_date)

    def List(self, request: messages.ListRequest, context: grpc.ServicerContext) -> Iterator[messages.Citizen]:  # noqa: N802
        """Citizens, one message each."""
        self._seen.note(context)
        yield from map(citizen, range(min(request.count, CITIZENS)))


class Clues(stubs.CluesServicer):
    """Never reached from outside: the catalogue says 不予共享."""

    def __init__(self, seen: serving.Seen) -> None:
        self._seen = seen

    def Get(self, request: messages.ClueRequest, context: grpc.ServicerContext) -> messages.Clue:  # noqa: N802
        """A clue."""
        self._seen.note(context)
        return messages.Clue(text=f"clue {request.clue}")


def add(server: grpc.Server, seen: serving.Seen) -> None:
    """Register both services."""
    stubs.add_PopulationServicer_to_server(Population(seen), server)
    stubs.add_CluesServicer_to_server(Clues(seen), server)


if __name__ == "__main__":
    serving.run(add)

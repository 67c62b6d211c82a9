"""[a] Runs handshake steps on a few threads, so that SM2 arithmetic never holds up the loop (architecture section 5).

OpenSSL releases the interpreter while it computes. The queue is bounded and has two classes: sources that lately held
an admitted connection go first. What a step does is in `session`; who may hand one in is in `limits`.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Protocol


class Urgency(Enum):
    """Which of the two queues a step waits in."""

    KNOWN = "known"
    STRANGER = "stranger"


class Step(Protocol):
    """One step of one handshake."""

    def run(self) -> None:
        """Compute, on a handshake thread."""
        ...

    def ran(self) -> None:
        """Go on, on the loop thread."""
        ...


@dataclass(frozen=True, slots=True)
class PoolSize:
    """Threads, and steps that may wait for one."""

    threads: int = 2
    queued: int = 256


class HandshakePool:
    """A bounded pool of threads for one process; `start` before use, `close` at the end."""

    def __init__(self, loop: asyncio.AbstractEventLoop, size: PoolSize = PoolSize()) -> None:
        self._loop = loop
        self._size = size
        self._ready = threading.Condition()
        self._queues: dict[Urgency, deque[Step]] = {urgency: deque() for urgency in Urgency}
        self._closing = False
        self._threads: list[threading.Thread] = []

    @property
    def waiting(self) -> int:
        """Steps that wait for a thread."""
        return sum(len(queue) for queue in self._queues.values())

    def start(self) -> None:
        """Start the threads."""
        for _ in range(self._size.threads):
            self._spawn()

    def submit(self, step: Step, urgency: Urgency) -> bool:
        """Queue `step`; False when the queue is full. Strangers may fill half of it."""
        limit = self._size.queued if urgency is Urgency.KNOWN else self._size.queued // 2
        with self._ready:
            if self._closing or self.waiting >= limit:
                return False
            self._queues[urgency].append(step)
            self._ready.notify()
        return True

    def close(self) -> None:
        """Drop what waits and end the threads; a step that runs is finished first."""
        with self._ready:
            self._closing = True
            for queue in self._queues.values():
                queue.clear()
            self._ready.notify_all()
        for thread in self._threads:
            thread.join()

    def _next(self) -> Step | None:
        with self._ready:
            while not self._closing:
                for queue in self._queues.values():
                    if queue:
                        return queue.popleft()
                self._ready.wait()
        return None

    def _spawn(self) -> None:
        thread = threading.Thread(target=self._work, name="handshake", daemon=True)
        self._threads = [other for other in self._threads if other.is_alive()]
        self._threads.append(thread)
        thread.start()

    def _work(self) -> None:
        try:
            while (step := self._next()) is not None:
                step.run()
                self._post(step.ran)
        finally:
            # A defect that one handshake brings to light is reported by `threading.excepthook` and ends that handshake
            # at its deadline; the others go on.
            if not self._closing:
                self._spawn()

    def _post(self, callback: Callable[[], None]) -> None:
        try:
            self._loop.call_soon_threadsafe(callback)
        except RuntimeError:
            # The loop has been closed under us: the process is going down and nobody waits for the result.
            self._closing = True

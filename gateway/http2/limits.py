"""What one HTTP/2 connection may cost: the limits, and the budgets that floods run into.

Numbers only; the engine asks and acts. Each limit can be set by the owner; the defaults suit a gateway between
admitted peers. Floods are counted as events against budgets that `tick` fills again, so nothing here reads a clock.
"""

from dataclasses import dataclass

from zonegate.gateway.http2.frames import DEFAULT_FRAME_SIZE, DEFAULT_WINDOW, LARGEST_FRAME_SIZE, MAX_WINDOW


@dataclass(frozen=True, slots=True)
class Limits:
    """The bounds of one connection, and what is advertised to its peer."""

    max_concurrent_streams: int = 256
    """Streams the peer may have open at once (SETTINGS_MAX_CONCURRENT_STREAMS); one more is refused."""
    initial_window: int = 262_144
    """Receive window of each stream: what one stream may make us hold before the consumer is done with it."""
    connection_window: int = 1_048_576
    """Receive window of the connection: the most received DATA held for all its streams together."""
    max_frame_size: int = DEFAULT_FRAME_SIZE
    """Largest frame payload accepted (SETTINGS_MAX_FRAME_SIZE)."""
    max_header_list: int = 16_384
    """Largest header list, counted as name + value + 32 for each field (RFC 9113 section 6.5.2)."""
    max_header_fields: int = 128
    """Most fields in one header list."""
    max_header_block: int = 32_768
    """Most compressed bytes of one header block over HEADERS and CONTINUATION."""
    max_continuation: int = 8
    """Most CONTINUATION frames of one header block (CVE-2024-27316 and its kin)."""
    budget_seconds: float = 10.0
    """The time in which an empty flood budget is full again."""
    max_pings: int = 200
    """PING frames in one budget time; grpcio measures its bandwidth with them, so some are normal."""
    max_settings: int = 20
    """SETTINGS frames in one budget time."""
    max_resets: int = 2_000
    """Streams reset by the peer, or by us for its faults, in one budget time (CVE-2023-44487, CVE-2025-8671)."""
    max_empty_frames: int = 400
    """Frames that carry nothing in one budget time: empty DATA, PRIORITY, unknown types, 1xx responses."""
    max_window_updates: int = 4_000
    """WINDOW_UPDATE frames in one budget time, beyond four for each DATA frame sent and each stream opened."""
    max_control_backlog: int = 65_536
    """Bytes of answers (PING and SETTINGS acknowledgements, RST_STREAM) that wait while the transport is paused."""

    def __post_init__(self) -> None:
        if not DEFAULT_FRAME_SIZE <= self.max_frame_size <= LARGEST_FRAME_SIZE:
            msg = f"max_frame_size: {self.max_frame_size} is outside {DEFAULT_FRAME_SIZE} to {LARGEST_FRAME_SIZE}"
            raise ValueError(msg)
        if not DEFAULT_WINDOW <= self.connection_window <= MAX_WINDOW:
            msg = f"connection_window: {self.connection_window} is outside {DEFAULT_WINDOW} to {MAX_WINDOW}"
            raise ValueError(msg)
        if not 1 <= self.initial_window <= MAX_WINDOW:
            msg = f"initial_window: {self.initial_window} is outside 1 to {MAX_WINDOW}"
            raise ValueError(msg)


class Budget:
    """A count of events that is allowed to run out, and fills again over time."""

    __slots__ = ("capacity", "left")

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.left: float = capacity

    def spend(self, cost: int = 1) -> bool:
        """Take `cost`; False means that the flood limit is passed."""
        self.left -= cost
        return self.left >= 0

    def refill(self, share: float) -> None:
        """Give back `share` of the capacity."""
        self.left = min(self.capacity, self.left + self.capacity * share)


class Budgets:
    """The flood budgets of one connection."""

    __slots__ = ("_all", "_seconds", "_ticked", "empty", "pings", "resets", "settings", "window_updates")

    def __init__(self, limits: Limits) -> None:
        self.pings = Budget(limits.max_pings)
        self.settings = Budget(limits.max_settings)
        self.resets = Budget(limits.max_resets)
        self.empty = Budget(limits.max_empty_frames)
        self.window_updates = Budget(limits.max_window_updates)
        self._all = (self.pings, self.settings, self.resets, self.empty, self.window_updates)
        self._seconds = limits.budget_seconds
        self._ticked: float | None = None

    def tick(self, monotonic_seconds: float) -> None:
        """Refill by the time since the last tick."""
        if self._ticked is not None:
            share = max(0.0, monotonic_seconds - self._ticked) / self._seconds
            for budget in self._all:
                budget.refill(share)
        self._ticked = monotonic_seconds

"""[d] How many connections and handshakes a listener takes, from one source, for one identity and in all.

Pure bookkeeping: time is passed in, no socket is touched. Sources that lately held an admitted connection have a bucket
and a reserve of their own, so that strangers can use up only the strangers' share (architecture section 5).
"""

from collections import Counter, OrderedDict
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address

from zonegate.errors import ZoneGateError
from zonegate.reasons import Reason


@dataclass(frozen=True, slots=True)
class TlsLimits:
    """The limits of one listener; seconds, counts, handshakes per second, bytes."""

    handshake_seconds: float = 5.0
    linger_seconds: float = 3.0
    connections: int = 8192
    connections_per_source: int = 2048
    connections_per_identity: int = 256
    # Connections whose handshake is not finished. Half of them are kept for known sources.
    pending: int = 512
    pending_per_source: int = 256
    handshakes_per_second: float = 150.0
    handshake_burst: int = 300
    source_handshakes_per_second: float = 50.0
    source_burst: int = 100
    known_handshakes_per_second: float = 150.0
    known_burst: int = 300
    known_seconds: float = 900.0
    # Handshake steps that wait for a thread; a client's second flight is a step too.
    queued_steps: int = 256
    write_high_bytes: int = 262144
    write_limit_bytes: int = 16 << 20
    # Records without application data (KeyUpdate, tickets, empty ones), per connection.
    silent_records_per_second: float = 1.0
    silent_record_burst: int = 32
    # RFC 8446 5.5 allows a GCM key 2^24.5 full records; a new key here means a new connection. After the first number
    # a channel says that it is worn, at the second it ends.
    worn_records: int = 1 << 23
    records_limit: int = 1 << 24


_SOURCES_REMEMBERED = 4096


class TokenBucket:
    """Lets `rate` takes a second through, and `burst` at once after a pause."""

    __slots__ = ("_burst", "_level", "_rate", "_then")

    def __init__(self, rate: float, burst: int, now: float) -> None:
        self._rate = rate
        self._burst = float(burst)
        self._level = float(burst)
        self._then = now

    def take(self, now: float) -> bool:
        """Take one token at `now`; False when there is none."""
        self._level = min(self._burst, self._level + max(0.0, now - self._then) * self._rate)
        self._then = now
        if self._level < 1.0:
            return False
        self._level -= 1.0
        return True


def source_of(address: str) -> str:
    """Return what counts as one source: an IPv4 address or an IPv6 /64, which one host commonly holds."""
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return f"{IPv6Address(int(parsed) >> 64 << 64)}/64"
    return str(parsed)


class Turnstile:
    """Counts the connections of one listener from arrival to end and says which may go on."""

    def __init__(self, limits: TlsLimits, now: float) -> None:
        self._limits = limits
        self._strangers = TokenBucket(limits.handshakes_per_second, limits.handshake_burst, now)
        self._known_bucket = TokenBucket(limits.known_handshakes_per_second, limits.known_burst, now)
        self._buckets: OrderedDict[str, TokenBucket] = OrderedDict()
        self._known_until: OrderedDict[str, float] = OrderedDict()
        self._by_source: Counter[str] = Counter()
        self._pending_by_source: Counter[str] = Counter()
        self._by_identity: Counter[str] = Counter()
        self._pending = 0
        self._connections = 0

    @property
    def connections(self) -> int:
        """Connections that have arrived and not ended."""
        return self._connections

    @property
    def pending(self) -> int:
        """Those of them whose handshake is not finished."""
        return self._pending

    def is_known(self, source: str, now: float) -> bool:
        """Whether `source` lately held an admitted connection."""
        return self._known_until.get(source, now) > now

    def arrive(self, source: str, now: float) -> None:
        """Count a new connection, or raise E_CONNECTIONS and count nothing."""
        limits = self._limits
        pending_limit = limits.pending if self.is_known(source, now) else limits.pending // 2
        if self._connections >= limits.connections:
            raise ZoneGateError(Reason.E_CONNECTIONS, f"connections: {limits.connections} are open")
        if self._by_source[source] >= limits.connections_per_source:
            raise ZoneGateError(Reason.E_CONNECTIONS, f"connections of {source}: {limits.connections_per_source}")
        if self._pending >= pending_limit or self._pending_by_source[source] >= limits.pending_per_source:
            raise ZoneGateError(Reason.E_CONNECTIONS, f"handshakes in progress: {self._pending}")
        self._connections += 1
        self._pending += 1
        self._by_source[source] += 1
        self._pending_by_source[source] += 1

    def hello(self, source: str, now: float) -> None:
        """Pay for one handshake, or raise E_TLS_RATE."""
        if self.is_known(source, now):
            if not self._known_bucket.take(now):
                raise ZoneGateError(Reason.E_TLS_RATE, "handshakes of known sources: the rate is used up")
            return
        bucket = self._buckets.get(source)
        if bucket is None:
            limits = self._limits
            bucket = TokenBucket(limits.source_handshakes_per_second, limits.source_burst, now)
            self._buckets[source] = bucket
            if len(self._buckets) > _SOURCES_REMEMBERED:
                # Forgetting refills the forgotten source; the strangers' bucket still holds all of them together.
                self._buckets.popitem(last=False)
        else:
            self._buckets.move_to_end(source)
        if not bucket.take(now):
            raise ZoneGateError(Reason.E_TLS_RATE, f"handshakes of {source}: the rate is used up")
        if not self._strangers.take(now):
            raise ZoneGateError(Reason.E_TLS_RATE, "handshakes of all unknown sources: the rate is used up")

    def settle(self, source: str) -> None:
        """Count the end of a handshake, good or bad."""
        self._pending -= 1
        _lower(self._pending_by_source, source)

    def admit(self, source: str, identity: str, now: float) -> None:
        """Count a settled connection to `identity`, or raise E_CONNECTIONS; the source is known from now on."""
        if self._by_identity[identity] >= self._limits.connections_per_identity:
            raise ZoneGateError(
                Reason.E_CONNECTIONS, f"connections of {identity}: {self._limits.connections_per_identity}"
            )
        self._by_identity[identity] += 1
        self._remember(source, now)

    def leave(self, source: str) -> None:
        """Count the end of a settled connection."""
        self._connections -= 1
        _lower(self._by_source, source)

    def release(self, source: str, identity: str, now: float) -> None:
        """Count the end of what `admit` has counted; the source stays known for a while."""
        _lower(self._by_identity, identity)
        self._remember(source, now)

    def _remember(self, source: str, now: float) -> None:
        self._known_until[source] = now + self._limits.known_seconds
        self._known_until.move_to_end(source)
        if len(self._known_until) > _SOURCES_REMEMBERED:
            self._known_until.popitem(last=False)


def _lower(counts: Counter[str], key: str) -> None:
    counts[key] -= 1
    if counts[key] <= 0:
        del counts[key]

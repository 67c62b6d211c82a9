"""[a] One TLS connection on the loop: moves bytes between the socket, the handshake threads and the app.

The phases are: wait for the hello (server only), handshake (steps run on `handshake`'s threads), open, ended. In the
open phase everything is done on the loop: read all, one `received`, one write at the end of the wake-up. What is
accepted is decided elsewhere: `clienthello`, `check`, `limits`, the owner's `admit`.
"""

import asyncio
from typing import cast

from zonegate.errors import ZoneGateError
from zonegate.gateway.tls.alerts import hello_refusal
from zonegate.gateway.tls.channel import ChannelApp, Peer
from zonegate.gateway.tls.handshake import HandshakePool, Urgency
from zonegate.gateway.tls.limits import TlsLimits, TokenBucket
from zonegate.gateway.tls.owner import Owner, Phase
from zonegate.gateway.tls.session import Handshake, Session
from zonegate.reasons import Reason

UNKNOWN_PEER = Peer(address="")


class TlsConnection(asyncio.Protocol):
    """A TLS connection of either role; it is the app's `Channel` once open."""

    def __init__(self, loop: asyncio.AbstractEventLoop, owner: Owner, pool: HandshakePool, limits: TlsLimits) -> None:
        self.address = ""
        self.urgency = Urgency.STRANGER
        self.phase = Phase.HELLO
        self._loop = loop
        self._owner = owner
        self._pool = pool
        self._limits = limits
        self._transport: asyncio.Transport | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._arrived = bytearray()
        self._handshake: Handshake | None = None
        self._step: _HandshakeStep | None = None
        self._session: Session | None = None
        self._app: ChannelApp | None = None
        self._error: ZoneGateError | None = None
        self._peer = UNKNOWN_PEER
        self._outgoing: list[bytes] = []
        self._flush_due = False
        self._silent = TokenBucket(limits.silent_records_per_second, limits.silent_record_burst, loop.time())
        self._silent_seen = 0

    # The app's side.

    @property
    def peer(self) -> Peer:
        """Who is at the other end; without a chain until the channel is open."""
        return self._peer

    @property
    def worn(self) -> bool:
        """Whether the keys have sealed or opened so many records that a new connection should take over."""
        return self._records() >= self._limits.worn_records

    def _records(self) -> int:
        session = self._session
        return 0 if session is None else max(session.sealed_records, session.opened_records)

    def write(self, data: bytes) -> None:
        """Queue `data` for the write at the end of this wake-up."""
        if self.phase is not Phase.OPEN or not data:
            return
        self._outgoing.append(data)
        if not self._flush_due:
            self._flush_due = True
            self._loop.call_soon(self._flush)

    def write_now(self, data: bytes) -> None:
        """Encrypt and send `data` at once, behind what is queued."""
        if self.phase is Phase.OPEN and data:
            self._outgoing.append(data)
            self._flush()

    def close(self) -> None:
        """Send what is queued and close_notify, then end."""
        if self.phase is not Phase.OPEN:
            self._give_up()
            return
        self._flush()
        if self.phase is not Phase.OPEN:
            return
        self.phase = Phase.ENDED
        if self._session is not None and self._transport is not None:
            self._transport.write(self._session.close())
        self._half_close()

    def abort(self, reason: Reason, detail: str = "") -> None:
        """End at once."""
        if self.phase is Phase.OPEN:
            self._error = ZoneGateError(reason, detail or "connection: ended by this side")
        self._give_up()

    def pause(self) -> None:
        """Read no more until `resume`."""
        if self._transport is not None and self.phase is Phase.OPEN:
            self._transport.pause_reading()

    def resume(self) -> None:
        """Read again."""
        if self._transport is not None and self.phase is Phase.OPEN:
            self._transport.resume_reading()

    # The loop's side.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin: the owner counts, the deadline runs."""
        self._transport = cast("asyncio.Transport", transport)
        peername = transport.get_extra_info("peername")
        self.address = str(peername[0]) if isinstance(peername, tuple) else ""
        self._transport.set_write_buffer_limits(high=self._limits.write_high_bytes)
        self._deadline = self._loop.call_later(self._limits.handshake_seconds, self._out_of_time)
        self._owner.arrived(self)

    def begin(self, handshake: Handshake) -> None:
        """Start the handshake from this side (client)."""
        self._handshake = handshake
        self.phase = Phase.HANDSHAKE
        self._submit()

    def data_received(self, data: bytes) -> None:
        """Take what one wake-up brought."""
        if self.phase is Phase.OPEN:
            self._read(data)
        elif self.phase is Phase.HANDSHAKE:
            self._arrived += data
            if self._step is None:
                self._submit()
            elif self._transport is not None:
                # A client may send application data while its certificate is judged: one wake-up's worth is enough.
                self._transport.pause_reading()
        elif self.phase is Phase.HELLO:
            self._arrived += data
            self._judge_hello()

    def eof_received(self) -> bool:
        """Close our half as well: a connection that one side has left serves nobody."""
        return False

    def pause_writing(self) -> None:
        """Tell the app to stop."""
        if self._app is not None and self.phase is Phase.OPEN:
            self._app.writable(False)  # noqa: FBT003 - the protocol's word

    def resume_writing(self) -> None:
        """Tell the app to go on."""
        if self._app is not None and self.phase is Phase.OPEN:
            self._app.writable(True)  # noqa: FBT003 - the protocol's word

    def connection_lost(self, exc: Exception | None) -> None:
        """Report the end, once."""
        if self._deadline is not None:
            self._deadline.cancel()
        was, session = self.phase, self._session
        self._give_up()
        self._transport = self._session = self._handshake = None
        self._outgoing.clear()
        app, self._app = self._app, None
        if app is not None:
            if was is Phase.OPEN and self._error is None and not (session is not None and session.ended):
                # No close_notify: the stream may have been cut by somebody else (RFC 8446 6.1).
                why = f": {exc.strerror or exc}" if isinstance(exc, OSError) else ""
                self._error = ZoneGateError(Reason.E_UPSTREAM_RESET, f"connection: cut without close_notify{why}")
            app.closed(self._error)
        elif was is not Phase.ENDED:
            if self._step is not None:
                # What it sent last, perhaps an alert, is still being read: its end is reported when that is known.
                self._step.abandoned = False
                return
            self._report_left(None)
        self._owner.gone(self)

    def _report_left(self, error: ZoneGateError | None) -> None:
        left = ZoneGateError(Reason.E_TLS_INCOMPLETE, "handshake: the peer left before its end")
        self._owner.refused(self, error or left)

    # Handshake.

    def refuse(self, error: ZoneGateError, farewell: bytes = b"") -> None:
        """End a connection that is not open yet: count it, send `farewell`, close."""
        if self.phase is Phase.ENDED:
            return
        hello_only, self.phase = self.phase is Phase.HELLO, Phase.ENDED
        self._owner.refused(self, error)
        if not farewell or self._transport is None:
            self._give_up()
            return
        self._transport.write(farewell)
        if hello_only:
            # Nothing is under way from the peer that could reset the connection before the alert is read.
            self._close_transport()
        else:
            self._half_close()

    def _judge_hello(self) -> None:
        try:
            self._handshake = self._owner.hello(self, bytes(self._arrived))
        except ZoneGateError as exc:
            self.refuse(exc, hello_refusal(exc.reason, bytes(self._arrived[:1])))
            return
        if self._handshake is not None:
            self.phase = Phase.HANDSHAKE
            self._submit()

    def _submit(self) -> None:
        if self.phase is not Phase.HANDSHAKE or self._handshake is None:
            return
        data = bytes(self._arrived)
        self._arrived.clear()
        step = _HandshakeStep(self, self._handshake, data)
        if not self._pool.submit(step, self.urgency):
            self.refuse(ZoneGateError(Reason.E_TLS_RATE, "handshakes: the queue is full"))
            return
        self._step = step
        # Work has been spent on this peer: its second flight does not queue behind strangers' first ones.
        self.urgency = Urgency.KNOWN

    def stepped(self, step: "_HandshakeStep") -> None:
        """Go on after a step, on the loop thread."""
        self._step = None
        handshake = step.handshake
        if self._transport is None and not step.abandoned:
            self._report_left(handshake.error)
            self._owner.gone(self)
        if self._transport is None:
            return
        self._transport.resume_reading()
        if self.phase is not Phase.HANDSHAKE:
            return
        if handshake.error is not None:
            self.refuse(handshake.error, step.output)
            return
        if step.output:
            self._transport.write(step.output)
        if handshake.finished:
            self._open(handshake)
        elif self._arrived:
            self._submit()

    def _open(self, handshake: Handshake) -> None:
        self._peer = handshake.peer or UNKNOWN_PEER
        self._session = handshake.session()
        self._handshake = None
        try:
            app = self._owner.admitted(self)
        except ZoneGateError as exc:
            self.refuse(exc, self._session.close())
            return
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        self.phase = Phase.OPEN
        self._app = app
        begun = False
        try:
            app.opened(self)
            self._read_what_came_early(app)
            begun = True
        finally:
            # The loop ends a connection whose `data_received` fails; here that is ours to do.
            if not begun:
                self.abort(Reason.E_INTERNAL, "connection: it could not be begun")

    def _read_what_came_early(self, app: ChannelApp) -> None:
        early = self._guarded_read_early()
        if early and self.phase is Phase.OPEN:
            app.received(early)
        if self._arrived and self.phase is Phase.OPEN:
            data = bytes(self._arrived)
            self._arrived.clear()
            self._read(data)
        self._end_if_asked()

    def _out_of_time(self) -> None:
        if self.phase in (Phase.HELLO, Phase.HANDSHAKE):
            seconds = self._limits.handshake_seconds
            self.refuse(ZoneGateError(Reason.E_TLS_TIMEOUT, f"handshake: not finished in {seconds:g} s"))
        else:
            self._give_up()

    # Open.

    def _guarded_read_early(self) -> bytes:
        if self._session is None:
            return b""
        try:
            return self._session.read_early()
        except ZoneGateError as exc:
            self._fail(exc)
            return b""

    def _read(self, data: bytes) -> None:
        session, app = self._session, self._app
        if session is None or app is None:
            return
        try:
            plain = session.read(data)
        except ZoneGateError as exc:
            self._fail(exc)
            return
        if session.silent_records != self._silent_seen:
            self._count_silent(session)
        if plain and self.phase is Phase.OPEN:
            app.received(plain)
            if self._outgoing:
                self._flush()
        if session.ended:
            self._end_if_asked()

    def _count_silent(self, session: Session) -> None:
        now = self._loop.time()
        for _ in range(session.silent_records - self._silent_seen):
            if not self._silent.take(now):
                self._fail(ZoneGateError(Reason.E_TLS_PROTOCOL, "records: too many without application data"))
                return
        self._silent_seen = session.silent_records

    def _end_if_asked(self) -> None:
        if self.phase is Phase.OPEN and self._session is not None and self._session.ended:
            self.close()

    def _flush(self) -> None:
        self._flush_due = False
        session, transport = self._session, self._transport
        if not self._outgoing or session is None or transport is None or self.phase is not Phase.OPEN:
            return
        data = self._outgoing[0] if len(self._outgoing) == 1 else b"".join(self._outgoing)
        self._outgoing.clear()
        try:
            transport.write(session.write(data))
        except ZoneGateError as exc:
            self._fail(exc)
            return
        if self._records() >= self._limits.records_limit:
            self._fail(ZoneGateError(Reason.E_UPSTREAM_RESET, "connection: its keys have sealed all they may"))
        elif transport.get_write_buffer_size() > self._limits.write_limit_bytes:
            self._fail(
                ZoneGateError(Reason.E_UPSTREAM_RESET, "connection: the peer does not read what it has asked for")
            )

    def _fail(self, error: ZoneGateError) -> None:
        if self.phase is Phase.ENDED:
            return
        self.phase = Phase.ENDED
        self._error = error
        if self._session is not None and self._transport is not None:
            alert = self._session.pending_output()
            if alert:
                self._transport.write(alert)
                self._half_close()
                return
        self._give_up()

    # End.

    def _half_close(self) -> None:
        """Send FIN after what is buffered and let the peer finish; a peer that does not is cut."""
        if self._transport is None:
            return
        self._transport.write_eof()
        self._expect_end()

    def _close_transport(self) -> None:
        if self._transport is not None:
            # Waits for the peer to take what is buffered.
            self._transport.close()
            self._expect_end()

    def _expect_end(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = self._loop.call_later(self._limits.linger_seconds, self._give_up)

    def _give_up(self) -> None:
        """End without another byte."""
        self.phase = Phase.ENDED
        if self._step is not None:
            self._step.abandoned = True
        if self._transport is not None:
            self._transport.abort()


class _HandshakeStep:
    """A step of one connection's handshake on its way through the pool."""

    def __init__(self, connection: TlsConnection, handshake: Handshake, data: bytes) -> None:
        self.handshake = handshake
        self.output = b""
        self.abandoned = False
        self._connection = connection
        self._data = data

    def run(self) -> None:
        if not self.abandoned:
            self.output = self.handshake.step(self._data)

    def ran(self) -> None:
        self._connection.stepped(self)

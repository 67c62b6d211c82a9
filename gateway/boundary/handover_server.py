"""[a] The importer's Unix socket: whoever the kernel says is the verifier may speak, and every saying is answered."""

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable, Collection
from typing import cast

from zonegate.errors import ZoneGateError
from zonegate.gateway.boundary.handover import Answer, Listener, Saying, encode_answer
from zonegate.gateway.boundary.transport_file import Bounds
from zonegate.gateway.tls.plain import peer_uid
from zonegate.reasons import Reason

_LOG = logging.getLogger("zonegate")

CONNECTIONS = 4
_READ_BYTES = 1 << 18


class HandoverServer:
    """Listens on one Unix socket. Sayings of one connection are answered in their order."""

    def __init__(
        self,
        sock: socket.socket,
        *,
        uids: Collection[int],
        bounds: Bounds,
        take: Callable[[Saying], Awaitable[Answer]],
    ) -> None:
        self._socket = sock
        self._uids = frozenset(uids)
        self._bounds = bounds
        self._take = take
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()

    async def start(self) -> None:
        """Listen."""
        self._server = await asyncio.start_unix_server(self._serve, sock=self._socket)

    async def close(self) -> None:
        """Listen no more and hang up."""
        if self._server is not None:
            self._server.close()
        for writer in tuple(self._open):
            writer.close()
        if self._server is not None:
            await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if self._admitted(writer):
                self._open.add(writer)
                await self._converse(reader, writer)
        except ZoneGateError as error:
            _LOG.warning("handover ended: %s", error)
        except OSError as exc:
            _LOG.warning("handover ended: %s", exc)
        finally:
            self._open.discard(writer)
            writer.close()

    def _admitted(self, writer: asyncio.StreamWriter) -> bool:
        # A stream's transport is a full one; typeshed says less, and uvloop's is no subclass.
        uid = peer_uid(cast("asyncio.Transport", writer.transport))
        if uid is None or uid not in self._uids:
            _LOG.warning("handover refused: %s user %s is not the verifier", Reason.E_LOCAL_PEER.value, uid)
            return False
        if len(self._open) >= CONNECTIONS:
            _LOG.warning("handover refused: %s %d are open", Reason.E_CONNECTIONS.value, len(self._open))
            return False
        return True

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        listener = Listener(self._bounds)
        while data := await reader.read(_READ_BYTES):
            for saying in listener.feed(data):
                writer.write(encode_answer(await self._take(saying)))
                await writer.drain()

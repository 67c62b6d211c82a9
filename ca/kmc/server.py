"""Serves a centre on two Unix sockets: one for CAs (signed messages), one for its operators (shares, status).

Whoever connects is known by SO_PEERCRED before anything is read. One message a connection, within a time limit. What a
message asks is decided by `service` and `centre`; this module moves bytes.
"""

import asyncio
import contextlib
import json
import os
import pwd
import socket
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zonegate.ca.kmc.centre import Centre, Status
from zonegate.ca.kmc.service import Service
from zonegate.ca.kmc.wire import FRAME_MAX_BYTES, LENGTH, peer_user
from zonegate.errors import ZoneGateError
from zonegate.reasons import Reason

READ_SECONDS = 10.0
CONNECTIONS_MAX = 64


@dataclass(frozen=True, slots=True)
class Listener:
    """One socket: who may connect, and what answers."""

    path: Path
    users: Collection[int]
    answer: Callable[[bytes, int], bytes]


def status_facts(status: Status) -> dict[str, Any]:
    """Return a status as an operator's program reads it."""
    progress = status.progress
    return {
        "state": "open" if status.is_open else "sealed",
        "given": [] if status.is_open else list(progress.given),
        "needed": 0 if status.is_open else progress.needed,
        "outstanding": [] if status.is_open else list(progress.outstanding),
        "threshold": status.threshold,
        "holders": list(status.holders),
        "keys": {state.value: count for state, count in status.counts.items()},
    }


def operator_answer(centre: Centre, message: bytes, user: int) -> bytes:
    """Return the JSON answer to one operator's JSON command."""
    try:
        facts = _operate(centre, message, _name(user))
    except ZoneGateError as exc:
        facts = {"reason": exc.reason.value, "detail": exc.detail}
    return json.dumps(facts, ensure_ascii=False).encode()


def _operate(centre: Centre, message: bytes, actor: str) -> dict[str, Any]:
    try:
        command = json.loads(message)
    except (ValueError, RecursionError):
        command = None
    act = command.get("act") if isinstance(command, dict) else None
    if act == "status":
        return status_facts(centre.status())
    if act == "unseal" and isinstance(command.get("share"), str):
        centre.give_share(command["share"], actor=actor)
        return status_facts(centre.status())
    if act == "seal":
        centre.seal(actor=actor)
        return status_facts(centre.status())
    raise ZoneGateError(Reason.E_KMC_REQUEST, "command: is none of status, unseal, seal")


def _name(user: int) -> str:
    try:
        return f"{pwd.getpwuid(user).pw_name} (uid {user})"
    except KeyError:
        return f"? (uid {user})"


def listeners(service: Service, socket_path: Path, admin_path: Path, users: Collection[int]) -> tuple[Listener, ...]:
    """Return the two listeners of a centre; its own user may always connect."""
    own = {os.getuid()}
    return (
        Listener(socket_path, own | set(users), lambda message, _user: service.answer(message)),
        Listener(admin_path, own | {0}, lambda message, user: operator_answer(service.centre, message, user)),
    )


async def serve(served: Collection[Listener], stop: asyncio.Event, ready: Callable[[], None]) -> None:
    """Serve until `stop` is set; `ready` is called when every socket listens."""
    limit = asyncio.Semaphore(CONNECTIONS_MAX)
    async with contextlib.AsyncExitStack() as stack:
        for listener in served:
            server = await asyncio.start_unix_server(_handler(listener, limit), sock=_bound(listener))
            await stack.enter_async_context(server)
            stack.callback(listener.path.unlink, missing_ok=True)
        ready()
        await stop.wait()


def _bound(listener: Listener) -> socket.socket:
    # A socket left by a killed process is in the way; one that answers belongs to a living process.
    probe = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        probe.connect(str(listener.path))
    except OSError:
        listener.path.unlink(missing_ok=True)
    else:
        raise ZoneGateError(Reason.E_CONFIG, f"{listener.path.name}: another process serves there")
    finally:
        probe.close()
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        made.bind(str(listener.path))
        # The other users are told apart by SO_PEERCRED; the mode keeps out only whom nobody listed.
        listener.path.chmod(0o600 if set(listener.users) <= {os.getuid(), 0} else 0o666)
    except OSError as exc:
        made.close()
        raise ZoneGateError(Reason.E_CONFIG, f"{listener.path.name}: cannot listen: {exc.strerror}") from exc
    return made


def _handler(
    listener: Listener, limit: asyncio.Semaphore
) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            user = peer_user(writer.get_extra_info("socket"))
            if user not in listener.users or limit.locked():
                return
            async with limit:
                await _exchange(listener, reader, writer, user)
        except (OSError, asyncio.IncompleteReadError, TimeoutError, ZoneGateError):
            # Nobody is owed an answer to what is no message.
            return
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    return handle


async def _exchange(listener: Listener, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, user: int) -> None:
    async with asyncio.timeout(READ_SECONDS):
        (length,) = LENGTH.unpack(await reader.readexactly(LENGTH.size))
        if not 0 < length <= FRAME_MAX_BYTES:
            return
        message = await reader.readexactly(length)
    answer = await asyncio.to_thread(listener.answer, message, user)
    writer.write(LENGTH.pack(len(answer)) + answer)
    async with asyncio.timeout(READ_SECONDS):
        await writer.drain()

"""One bounded HTTP exchange with a status or time service: POST bytes, get bytes of the expected type. [a]

Plain http, because the answers are signed; no redirect is followed, so that an answer comes from where it was asked.
"""

import http.client
from urllib.parse import urlsplit

from zonegate.errors import ZoneGateError
from zonegate.reasons import Reason


def post(url: str, body: bytes, *, send: str, accept: str, limit: int, reason: Reason, seconds: float = 10.0) -> bytes:
    """Return the answer of `url` to a POST of content type `send`; `reason` names what is refused."""
    parts = urlsplit(url)
    if parts.scheme != "http" or not parts.hostname:
        raise ZoneGateError(Reason.E_CONFIG, f"url: {url[:120]!r} is not an http address")
    connection = http.client.HTTPConnection(parts.hostname, parts.port or 80, timeout=seconds)
    try:
        connection.request("POST", parts.path or "/", body, {"Content-Type": send, "Accept": accept})
        answer = connection.getresponse()
        content = answer.read(limit + 1)
    except (OSError, http.client.HTTPException) as exc:
        raise ZoneGateError(reason, f"{url}: does not answer: {exc}") from exc
    finally:
        connection.close()
    kind = answer.headers.get_content_type()
    if answer.status != http.client.OK or kind != accept:
        raise ZoneGateError(reason, f"{url}: answers {answer.status} with {kind}, expected is {accept}")
    if len(content) > limit:
        raise ZoneGateError(reason, f"{url}: answers more than {limit} bytes")
    return content

"""Fetches /metrics and /healthz of one management address, bounded in time and size. [a]

An address that does not answer is a finding, not an error: `Scrape.problem` says what happened.
"""

import http.client
from dataclasses import dataclass

BODY_LIMIT_BYTES = 16 << 20


@dataclass(frozen=True, slots=True)
class Scrape:
    """What one address answered."""

    address: str
    metrics: str = ""
    health: str = ""
    problem: str = ""


def scrape(address: str, *, timeout_seconds: float) -> Scrape:
    """Return what `address` (`host:port`) answers; `problem` is set if it is not a zonegate process that runs."""
    try:
        metrics = _get(address, "/metrics", timeout_seconds)
        health = _get(address, "/healthz", timeout_seconds)
    except (OSError, http.client.HTTPException, ValueError) as exc:
        return Scrape(address, problem=f"no answer ({type(exc).__name__})")
    return Scrape(address, metrics, health)


def _get(address: str, path: str, timeout_seconds: float) -> str:
    connection = http.client.HTTPConnection(address, timeout=timeout_seconds)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        body = response.read(BODY_LIMIT_BYTES + 1)
    finally:
        connection.close()
    if len(body) > BODY_LIMIT_BYTES:
        msg = f"{path} is larger than {BODY_LIMIT_BYTES} bytes"
        raise ValueError(msg)
    return body.decode()

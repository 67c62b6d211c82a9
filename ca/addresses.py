"""Which addresses may stand in a certificate as the place of its status, and those of shards and deltas. Pure."""

from dataclasses import dataclass
from urllib.parse import urlsplit

URL_MAX_CHARS = 200
LIST_SUFFIX = ".crl"


def check_url(url: str) -> str:
    """Return `url` if verifiers can fetch it as it stands: plain http (RFC 5280 8), a host name, ASCII."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as exc:
        msg = f"must be an http:// address: {exc}"
        raise ValueError(msg) from exc
    if parts.scheme != "http" or not host or not url.isascii() or not url.isprintable() or " " in url:
        msg = "must be an http:// address with a host name, in ASCII"
        raise ValueError(msg)
    if len(url) > URL_MAX_CHARS:
        msg = f"has {len(url)} characters, at most {URL_MAX_CHARS} are allowed"
        raise ValueError(msg)
    return url


@dataclass(frozen=True, slots=True)
class Shard:
    """One of `count` parts of an issuer's certificates."""

    count: int
    index: int

    def holds(self, serial: int) -> bool:
        """Whether the certificate of `serial` is of this part."""
        return serial % self.count == self.index

    def name(self, stem: str) -> str:
        """Return the name of the list, e.g. `sub.16-3`."""
        return f"{stem}.{self.count}-{self.index}"

    def url(self, url: str) -> str:
        """Return the address of the list beside the full list's."""
        return self.name(url.removesuffix(LIST_SUFFIX)) + LIST_SUFFIX


def shard_of(serial: int, count: int) -> Shard:
    """Return the shard of a certificate among `count`."""
    return Shard(count, serial % count)


def delta_url(url: str) -> str:
    """Return the address of the delta list beside the full list's."""
    return url.removesuffix(LIST_SUFFIX) + ".delta" + LIST_SUFFIX

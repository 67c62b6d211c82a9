"""Which addresses may stand in a certificate as the place of its status. Pure."""

from urllib.parse import urlsplit

URL_MAX_CHARS = 200


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

"""Reads the extensions of a CRL: number, issuer's key, and what makes a list a delta or a shard (RV-02). [d]

Strict DER. What may stand there is said here; what lists mean together is `path`'s.
"""

from typing import NamedTuple

from zonegate.gm import der

_NUMBER_MAX_OCTETS = 20
_URL_LIMIT_BYTES = 256
_URLS_MAX = 8

_OID_CRL_NUMBER = "2.5.29.20"
OID_DELTA = "2.5.29.27"
OID_PARTITION = "2.5.29.28"
_OID_AKI = "2.5.29.35"
_OID_FRESHEST = "2.5.29.46"


class ListExtensions(NamedTuple):
    """What the extensions say; absent ones have the empty value."""

    number: int
    aki: bytes | None
    base: int | None
    shard: tuple[str, ...]
    freshest: tuple[str, ...]


def read_extensions(body: der.Reader) -> ListExtensions:
    """Return the crlExtensions, which come last in `body`."""
    if body.peek() != der.context(0):
        msg = "crlExtensions: are missing, crlNumber is needed"
        raise der.DerError(msg)
    holder = body.enter(der.context(0), "crlExtensions")
    extensions = holder.sequence("crlExtensions")
    holder.end("crlExtensions")
    number: int | None = None
    aki: bytes | None = None
    base: int | None = None
    shard: tuple[str, ...] = ()
    freshest: tuple[str, ...] = ()
    seen: set[str] = set()
    while not extensions.at_end():
        name, critical, value = read_extension(extensions, seen)
        if name == _OID_CRL_NUMBER:
            number = _read_number(value, "crlNumber")
        elif name == _OID_AKI:
            aki = _read_aki(value)
        elif name == OID_DELTA and critical:
            base = _read_number(value, "deltaCRLIndicator")
        elif name == OID_PARTITION and critical:
            shard = _read_partition(value)
        elif name == _OID_FRESHEST and not critical:
            freshest = _read_freshest(value)
        elif critical or name in (OID_DELTA, OID_PARTITION):
            msg = f"crlExtensions: {name} is not accepted: only full lists are, and parts that say so critically"
            raise der.DerError(msg)
    if number is None:
        msg = "crlNumber: is missing"
        raise der.DerError(msg)
    return ListExtensions(number, aki, base, shard, freshest)


def read_extension(extensions: der.Reader, seen: set[str]) -> tuple[str, bool, bytes]:
    """Return name, critical and value of the next Extension; a second one of the same name is refused."""
    extension = extensions.sequence("Extension")
    name = extension.oid("extnID")
    critical = extension.peek() == der.BOOLEAN
    if critical and extension.read(der.BOOLEAN, "critical") != b"\xff":
        msg = f"extension {name}: critical must be TRUE or absent"
        raise der.DerError(msg)
    value = extension.read(der.OCTET_STRING, "extnValue")
    extension.end("Extension")
    if name in seen:
        msg = f"extension {name}: stands there twice"
        raise der.DerError(msg)
    seen.add(name)
    return name, critical, value


def _read_partition(value: bytes) -> tuple[str, ...]:
    """Return the addresses of an issuingDistributionPoint that holds nothing else: no reasons, no indirect list."""
    reader = der.Reader(value)
    body = reader.sequence("issuingDistributionPoint")
    reader.end("issuingDistributionPoint")
    urls = _read_point(body)
    if not body.at_end():
        msg = "issuingDistributionPoint: only the address of a shard is accepted there"
        raise der.DerError(msg)
    return urls


def _read_freshest(value: bytes) -> tuple[str, ...]:
    reader = der.Reader(value)
    points = reader.sequence("freshestCRL")
    reader.end("freshestCRL")
    urls: list[str] = []
    while not points.at_end():
        point = points.sequence("DistributionPoint")
        urls += _read_point(point)
        point.end("DistributionPoint")
    return tuple(urls)


def _read_point(body: der.Reader) -> tuple[str, ...]:
    """Return the URIs of `distributionPoint [0] { fullName [0] }`, at least one and nothing else."""
    point = body.enter(der.context(0), "distributionPoint")
    names = point.enter(der.context(0), "fullName")
    point.end("distributionPoint")
    urls: list[str] = []
    while not names.at_end():
        url = names.read(der.context_primitive(6), "URI")
        if not 0 < len(url) <= _URL_LIMIT_BYTES or len(urls) == _URLS_MAX:
            msg = f"fullName: more than {_URLS_MAX} addresses, or one of {len(url)} bytes"
            raise der.DerError(msg)
        urls.append(url.decode("ascii"))
    if not urls:
        msg = "fullName: is empty"
        raise der.DerError(msg)
    return tuple(urls)


def _read_number(value: bytes, what: str) -> int:
    reader = der.Reader(value)
    number = reader.integer(what)
    reader.end(what)
    if number.bit_length() > 8 * _NUMBER_MAX_OCTETS:
        msg = f"{what}: is longer than {_NUMBER_MAX_OCTETS} octets"
        raise der.DerError(msg)
    return number


def _read_aki(value: bytes) -> bytes | None:
    reader = der.Reader(value)
    body = reader.sequence("authorityKeyIdentifier")
    reader.end("authorityKeyIdentifier")
    if body.peek() != der.context_primitive(0):
        return None
    return body.read(der.context_primitive(0), "keyIdentifier")

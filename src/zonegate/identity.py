"""Who a certificate speaks for: `spiffe://<net>/<USCC>/<system>` (architecture section 3, CE-03).

Pure: text in, value or `ValueError` out. The zone and the clearance of an identity are the policy bundle's business.
"""

import re
from dataclasses import dataclass
from enum import StrEnum

from zonegate.codes import check_uscc

_NAME = re.compile(r"[a-z0-9]([a-z0-9._-]{0,62}[a-z0-9])?")
_PREFIX = "spiffe://"
URI_MAX_CHARS = 128


class Net(StrEnum):
    """The two unrelated nets; the value is the trust domain of its identities."""

    EXTRA = "extra"
    INTRA = "intra"


@dataclass(frozen=True, slots=True)
class Identity:
    """A system, gateway, officer or service of one organ in one net."""

    net: Net
    organ: str
    name: str

    def __str__(self) -> str:
        return f"{_PREFIX}{self.net.value}/{self.organ}/{self.name}"


def parse_identity(uri: str) -> Identity:
    """Return the identity in `uri`; `ValueError` names the part that is wrong."""
    if len(uri) > URI_MAX_CHARS or not uri.startswith(_PREFIX):
        msg = f"the URI is not {_PREFIX}<net>/<USCC>/<system> of at most {URI_MAX_CHARS} characters"
        raise ValueError(msg)
    parts = uri[len(_PREFIX) :].split("/")
    if len(parts) != 3:
        msg = f"the URI has {len(parts)} parts after {_PREFIX}, three are needed: net, USCC, system"
        raise ValueError(msg)
    net, organ, name = parts
    if net not in set(Net):
        msg = f"the net is {net[:16]!r}, allowed are {', '.join(Net)}"
        raise ValueError(msg)
    check_uscc(organ)
    if not _NAME.fullmatch(name):
        msg = f"the system name {name[:64]!r} is not 1 to 64 of a-z 0-9 . _ - with a letter or digit at both ends"
        raise ValueError(msg)
    return Identity(Net(net), organ, name)

"""[d] What the approval core and the login ask of a roster: who was what, when, with which certificate.

A protocol and two values; the roster implements it, and tests may with a dict.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from zonegate.identity import Identity
from zonegate.roles.role import Role, Separation


@dataclass(frozen=True, slots=True)
class Binding:
    """The person behind an identity, and the one certificate (SM3 fingerprint) that speaks for it since `since`."""

    person: str
    certificate: str
    since: datetime


@dataclass(frozen=True, slots=True)
class Standing:
    """A role held: from when, until when, by which grant."""

    role: Role
    grant: str
    since: datetime
    until: datetime


class RoleView(Protocol):
    """The roles of one net at any instant."""

    @property
    def separation(self) -> Separation:
        """Which roles exclude each other."""
        ...

    def binding(self, identity: Identity, *, at: datetime) -> Binding | None:
        """Return who stands behind `identity` at `at`; None: nobody known."""
        ...

    def standing(self, identity: Identity, role: Role, *, at: datetime) -> Standing | None:
        """Return how `identity` holds `role` at `at`; None: it does not."""
        ...

    def roles_of(self, person: str, *, at: datetime) -> Collection[Role]:
        """Return every role that a person holds, through whatever identity."""
        ...

    def superiors(self, organ: str) -> tuple[str, ...]:
        """Return the organs above `organ`, nearest first."""
        ...

    def withdrawn(self, delegation: str) -> datetime | None:
        """Return since when a delegation of this id is withdrawn; None: it is not."""
        ...

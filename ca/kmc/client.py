"""The CA's side of the key centre: signs requests, sends them, believes only the centre's own answers (CA-09).

Every failure is an error with the reason of the centre or E_KMC; nothing is retried here, because a request that got
no answer may have been carried out. The transport is any call that takes a message and returns one.
"""

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from zonegate.ca.kmc.messages import NONCE_BYTES, Apply, Body, Key, Purpose, Request, Restore, Revoke, Revoked
from zonegate.ca.kmc.protocol import read_answer, sign_request
from zonegate.clock import Clock
from zonegate.errors import ZoneGateError
from zonegate.gm.sm2 import PublicKey
from zonegate.identity import Identity
from zonegate.pki.certificate import Certificate
from zonegate.pki.credential import Credential
from zonegate.pki.oids import Profile
from zonegate.reasons import Reason


@dataclass(frozen=True, slots=True)
class EscrowedKey:
    """The public half of an encryption key, and the pair enveloped for its owner."""

    public_key: PublicKey
    envelope: bytes


class KeySource(Protocol):
    """Where a CA has encryption keys from; it never sees a private one (CA-04)."""

    def apply(self, serial: int, profile: Profile, holder: Identity, recipient: PublicKey) -> EscrowedKey:
        """Return a new key for the encryption certificate `serial`, enveloped for `recipient`."""
        ...

    def revoke(self, serial: int, reason: str) -> None:
        """Say that the certificate ended or never came to be."""
        ...


class CentreClient:
    """One CA at one centre."""

    def __init__(
        self, exchange: Callable[[bytes], bytes], credential: Credential, centre: Certificate, clock: Clock
    ) -> None:
        self._exchange = exchange
        self._credential = credential
        self._centre = centre
        self._clock = clock

    def apply(self, serial: int, profile: Profile, holder: Identity, recipient: PublicKey) -> EscrowedKey:
        """Return a new key for the encryption certificate `serial`, enveloped for `recipient`."""
        return _key(self._ask(Apply(serial, profile, holder, recipient)))

    def restore(
        self, serial: int, purpose: Purpose, recipient: Certificate, order: bytes, statements: Sequence[bytes]
    ) -> EscrowedKey:
        """Return a key that was given before, enveloped for `recipient`, if the statements suffice (CA-08)."""
        return _key(self._ask(Restore(serial, purpose, recipient, order, tuple(statements))))

    def revoke(self, serial: int, reason: str) -> None:
        """Say that the certificate ended or never came to be."""
        self._ask(Revoke(serial, reason))

    def _ask(self, body: Body) -> Key | Revoked:
        request = Request(
            ca=str(self._credential.identity),
            kmc=str(self._centre.identity),
            at=self._clock.now().replace(microsecond=0),
            task=secrets.randbits(63),
            nonce=secrets.token_bytes(NONCE_BYTES),
            body=body,
        )
        message = sign_request(request, self._credential.key)
        try:
            answer = self._exchange(message)
        except ZoneGateError as exc:
            raise ZoneGateError(Reason.E_KMC, f"key centre: {exc.detail}") from exc
        return read_answer(answer, request=request, request_message=message, centre=self._centre, now=self._clock.now())


def _key(outcome: Key | Revoked) -> EscrowedKey:
    if isinstance(outcome, Revoked):
        raise ZoneGateError(Reason.E_KMC, "answer of the key centre: is no key")
    return EscrowedKey(outcome.public_key, outcome.envelope)

"""The acts of the key centre: unseal, refill, give, archive, restore, destroy, rotate. Each is audited, refusals too.

It starts sealed: without enough holders' shares no key can be made, given or restored; what needs no key (archiving,
status) goes on. It never sees a signing key. Who may ask is `protocol`'s, what recovery needs is `recovery`'s.
"""

import secrets
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

from zonegate.ca.audit import Act, AuditEntry, Result
from zonegate.ca.database import time_text
from zonegate.ca.kmc import vault as sealing
from zonegate.ca.kmc.lifecycle import KeyState, check_escrow
from zonegate.ca.kmc.messages import Apply
from zonegate.ca.kmc.shares import MASTER_BYTES, Gathering, Progress, Split, check_holders, split
from zonegate.ca.kmc.store import DataKey, KeyRow, NewKey, Owner, Store, key_serial
from zonegate.ca.kmc.vault import Vault
from zonegate.clock import Clock
from zonegate.errors import ZoneGateError
from zonegate.gm import enveloped
from zonegate.gm.sm2 import PrivateKey, PublicKey
from zonegate.reasons import Reason

DETAIL_MAX_CHARS = 500
SELF = "kmc"


@dataclass(frozen=True, slots=True)
class Limits:
    """When the standby store is filled up and to what, and how long history is kept."""

    threshold: int
    target: int
    retention: timedelta


@dataclass(frozen=True, slots=True)
class GivenKey:
    """A key on its way to its owner."""

    public_key: PublicKey
    envelope: bytes


@dataclass(frozen=True, slots=True)
class Status:
    """What an operator sees: open or sealed, who is needed, how many keys there are. No secret."""

    is_open: bool
    progress: Progress
    threshold: int
    holders: tuple[str, ...]
    counts: dict[KeyState, int]


def found(store: Store, *, holders: Sequence[str], threshold: int, actor: str, clock: Clock) -> tuple[str, ...]:
    """Make master and data key of a new centre; return one share for each holder. The centre stays sealed."""
    check_holders(threshold, holders)
    now = clock.now()
    master = secrets.token_bytes(MASTER_BYTES)
    record, shares = split(master, generation=1, threshold=threshold, holders=holders)
    data_key = DataKey(1, 1, sealing.wrap(master, 1, sealing.new_data_key()))
    detail = f"master key 1 divided {threshold} of {len(holders)}: {', '.join(holders)}"
    entry = AuditEntry(time_text(now), actor, Act.KEY_DIVIDE, "master key", Result.DONE, Reason.OK.value, detail)
    store.put_split(record, data_key, entry, now=now)
    return shares


class Centre:
    """One net's key centre over one store; safe to use from several threads."""

    def __init__(self, store: Store, limits: Limits, clock: Clock) -> None:
        self.store = store
        self._limits = limits
        self._clock = clock
        self._lock = threading.RLock()
        self._vault: Vault | None = None
        self._gathering = Gathering(store.split())

    def close(self) -> None:
        """Forget every secret and give the file handles back."""
        with self._lock:
            self._forget()
        self.store.close()

    # --- sealing

    def status(self) -> Status:
        """Return what may be shown to an operator."""
        with self._lock:
            self._renew_gathering()
            self._gathering.expire(now=self._clock.now())
            record = self.store.split()
            counts = self.store.counts()
            return Status(self._vault is not None, self._gathering.progress, record.threshold, record.holders, counts)

    def give_share(self, text: str, *, actor: str) -> Progress:
        """Take one holder's share; with the last one needed the centre opens and fills its standby store."""
        with self._lock, self._audited(Act.KEY_COMPOSE, "master key", actor):
            now = self._clock.now()
            if self._vault is not None:
                raise ZoneGateError(Reason.E_KEY_STATE, "centre: is open already; shares stay with their holders")
            self._renew_gathering()
            before = self._gathering.progress
            master = self._gathering.give(text, now=now)
            if master is None:
                progress = self._gathering.progress
                self._note(Act.KEY_COMPOSE, "master key", actor, f"share of {_added(before, progress)}; {progress}")
                return progress
            kept = self.store.data_key()
            self._vault = Vault(kept.number, sealing.unwrap(master, kept.number, kept.wrapped))
            self._note(Act.KEY_COMPOSE, "master key", actor, "complete, the centre is open")
            self.refill()
            record = self.store.split()
            return Progress(record.holders, (), 0)

    def seal(self, *, actor: str) -> None:
        """Forget the data key; every holder is needed anew."""
        with self._lock:
            self._forget()
            self._note(Act.KEY_SEAL, "master key", actor, "the centre is sealed")

    # --- keys

    def refill(self) -> int:
        """Fill the standby store up to its target if it is below the threshold; return how many keys were made."""
        with self._lock:
            left = self.store.standby_left()
            if left >= self._limits.threshold:
                return 0
            vault, now = self._open(), self._clock.now()
            made = [_new_key(vault) for _ in range(self._limits.target - left)]
            detail = f"{left} keys left, below the threshold {self._limits.threshold}: {len(made)} made"
            entry = self._entry(Act.KEY_GENERATE, "standby store", SELF, detail)
            self.store.add_standby(made, entry, now=now)
            return len(made)

    def apply(self, asked: Apply, *, ca: str) -> GivenKey:
        """Give a standby key to the holder of `asked`, enveloped for the signing key of the request."""
        target = f"serial {key_serial(asked.serial)}"
        with self._lock, self._audited(Act.KEY_DISPENSE, target, ca):
            check_escrow(asked.profile)
            vault = self._open()
            if not self.store.standby_left():
                self.refill()
            detail = f"{asked.profile.value} of {asked.holder}"
            entry = self._entry(Act.KEY_DISPENSE, target, ca, detail)
            owner = Owner(ca, asked.serial, str(asked.holder))
            row = self.store.give(owner, entry, now=self._clock.now())
            given = _envelope(vault, row, asked.recipient)
            self.refill()
            return given

    def revoke(self, serial: int, reason: str, *, ca: str) -> None:
        """Move a key to history: its certificate ended, was replaced or never came to be. Needs no secret."""
        target = f"serial {key_serial(serial)}"
        with self._lock, self._audited(Act.KEY_ARCHIVE, target, ca):
            row = self.store.find(ca, serial)
            self.store.archive(row, reason, self._entry(Act.KEY_ARCHIVE, target, ca, reason), now=self._clock.now())

    def restore(self, ca: str, serial: int, recipient: PublicKey, act: Act, *, actor: str, detail: str) -> GivenKey:
        """Envelope a key that was given out once more, for `recipient`. `recovery` has judged who asks and why."""
        target = f"serial {key_serial(serial)}"
        with self._lock, self._audited(act, target, actor):
            vault = self._open()
            row = self.store.find(ca, serial)
            if row.state not in (KeyState.IN_USE, KeyState.HISTORY):
                raise ZoneGateError(Reason.E_KEY_STATE, f"key: is {row.state.value}, nothing is left to restore")
            given = _envelope(vault, row, recipient)
            # Recorded before it leaves: an envelope that nobody wrote down must not exist outside.
            self._note(act, target, actor, detail)
            return given

    def restorable(self, ca: str, serial: int) -> Owner:
        """Return whose key it is if it could be restored now: escrowed (CA-05), not destroyed, the centre open."""
        with self._lock:
            row = self.store.find(ca, serial)
            if row.owner is None or row.state not in (KeyState.IN_USE, KeyState.HISTORY):
                raise ZoneGateError(Reason.E_KEY_STATE, f"key: is {row.state.value}, nothing is left to restore")
            self._open()
            return row.owner

    def refuse(self, act: Act, target: str, actor: str, error: ZoneGateError) -> None:
        """Record a refusal that was decided outside the centre: an unsigned request, a replay, missing persons."""
        self._note(act, target, actor, error.detail, Result.REFUSED, error.reason)

    def destroy(self, ca: str, serial: int, *, actor: str) -> None:
        """Overwrite a history key whose time is over (C9: history is kept)."""
        target = f"serial {key_serial(serial)}"
        with self._lock, self._audited(Act.KEY_DESTROY, target, actor):
            row, now = self.store.find(ca, serial), self._clock.now()
            if row.archived_at is not None and now < row.archived_at + self._limits.retention:
                until = (row.archived_at + self._limits.retention).date()
                raise ZoneGateError(Reason.E_KEY_STATE, f"key: is kept in history until {until}")
            self.store.destroy(row, self._entry(Act.KEY_DESTROY, target, actor, "history time over"), now=now)

    def destroy_standby(self, *, actor: str) -> int:
        """Overwrite every standby key, when one of them may be known to others; new ones are made when needed."""
        with self._lock, self._audited(Act.KEY_DESTROY, "standby store", actor):
            rows = self.store.rows(KeyState.STANDBY)
            for row in rows:
                entry = self._entry(Act.KEY_DESTROY, f"standby key {row.key_id}", actor, "standby store emptied")
                self.store.destroy(row, entry, now=self._clock.now())
            return len(rows)

    # --- rotation

    def rotate_data_key(self, shares: Sequence[str], *, actor: str) -> int:
        """Seal every stored key under a new data key and destroy the old one; return how many keys there were.

        The master key wraps the new one, so its holders are needed although the centre is open.
        """
        with self._lock, self._audited(Act.KEY_RENEW, "data key", actor):
            old, now = self._open(), self._clock.now()
            master = self._gathered(shares)
            kept = self.store.data_key()
            plain = sealing.new_data_key()
            fresh = Vault(kept.number + 1, plain)
            rows = self.store.rows(KeyState.STANDBY, KeyState.IN_USE, KeyState.HISTORY)
            resealed = [(row.key_id, fresh.seal(row.key_id, _opened(old, row))) for row in rows]
            wrapped = DataKey(fresh.number, kept.generation, sealing.wrap(master, fresh.number, plain))
            detail = f"data key {old.number} replaced by {fresh.number}, {len(rows)} keys sealed anew"
            self.store.put_data_key(wrapped, resealed, self._entry(Act.KEY_RENEW, "data key", actor, detail), now=now)
            self._vault = fresh
            old.close()
            return len(rows)

    def divide_anew(self, holders: Sequence[str], threshold: int, *, actor: str) -> tuple[Split, tuple[str, ...]]:
        """Make a new master key with new holders; the shares of the old one open nothing any more."""
        with self._lock, self._audited(Act.KEY_DIVIDE, "master key", actor):
            check_holders(threshold, holders)
            vault, now = self._open(), self._clock.now()
            generation = self.store.split().generation + 1
            master = secrets.token_bytes(MASTER_BYTES)
            record, shares = split(master, generation=generation, threshold=threshold, holders=holders)
            detail = f"master key {generation} divided {threshold} of {len(holders)}: {', '.join(holders)}"
            data_key = DataKey(vault.number, generation, vault.rewrap(master))
            self.store.put_split(record, data_key, self._entry(Act.KEY_DIVIDE, "master key", actor, detail), now=now)
            self._gathering.forget()
            self._gathering = Gathering(record)
            return record, shares

    # --- inside

    def _open(self) -> Vault:
        if self._vault is None:
            progress = self._gathering.progress
            raise ZoneGateError(Reason.E_KMC_SEALED, f"centre: is sealed; {progress}")
        kept = self.store.data_key()
        if kept.number != self._vault.number:
            # Another process has rotated: what this one holds opens nothing any more.
            self._forget()
            raise ZoneGateError(Reason.E_KMC_SEALED, "centre: its data key was replaced; the holders are needed anew")
        return self._vault

    def _renew_gathering(self) -> None:
        record = self.store.split()
        if record != self._gathering.wanted:
            self._gathering.forget()
            self._gathering = Gathering(record)

    def _forget(self) -> None:
        if self._vault is not None:
            self._vault.close()
        self._vault = None
        self._gathering.forget()
        self._gathering = Gathering(self.store.split())

    def _gathered(self, shares: Sequence[str]) -> bytes:
        gathering = Gathering(self.store.split())
        for text in shares:
            master = gathering.give(text, now=self._clock.now())
            if master is not None:
                kept = self.store.data_key()
                sealing.unwrap(master, kept.number, kept.wrapped)
                return master
        progress = gathering.progress
        gathering.forget()
        raise ZoneGateError(Reason.E_KEY_SHARE, f"shares: {progress}")

    @contextmanager
    def _audited(self, act: Act, target: str, actor: str) -> Iterator[None]:
        try:
            yield
        except ZoneGateError as exc:
            # A store that fails cannot record its own failure.
            if exc.reason is not Reason.E_LEDGER:
                self.refuse(act, target, actor, exc)
            raise

    def _note(
        self,
        act: Act,
        target: str,
        actor: str,
        detail: str,
        result: Result = Result.DONE,
        reason: Reason = Reason.OK,
    ) -> None:
        at = time_text(self._clock.now())
        self.store.append_audit(AuditEntry(at, actor, act, target, result, reason.value, detail[:DETAIL_MAX_CHARS]))

    def _entry(self, act: Act, target: str, actor: str, detail: str) -> AuditEntry:
        at = time_text(self._clock.now())
        return AuditEntry(at, actor, act, target, Result.DONE, Reason.OK.value, detail[:DETAIL_MAX_CHARS])


def _new_key(vault: Vault) -> NewKey:
    key_id = secrets.token_hex(16)
    key = PrivateKey.generate()
    try:
        return NewKey(key_id, key.public_key, vault.number, vault.seal(key_id, key))
    finally:
        key.close()


def _opened(vault: Vault, row: KeyRow) -> PrivateKey:
    if row.sealed is None:
        raise ZoneGateError(Reason.E_KEY_STATE, "key: is destroyed")
    return vault.open(row.key_id, row.public_key, row.sealed)


def _envelope(vault: Vault, row: KeyRow, recipient: PublicKey) -> GivenKey:
    key = _opened(vault, row)
    try:
        return GivenKey(row.public_key, enveloped.seal(key, recipient))
    finally:
        key.close()


def _added(before: Progress, after: Progress) -> str:
    return ", ".join(name for name in after.given if name not in before.given)

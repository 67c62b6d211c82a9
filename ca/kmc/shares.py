"""The master key among its holders: split m-of-n, gathered share by share, forgotten at once (CA-07).

Shamir's scheme over GF(256) by SLIP-39's reference implementation (docs/adr/0008): a share is 33 words that a person
can write down, with a checksum of its own. Fewer than m shares say nothing about the key. Whether the gathered key is
the right one is shown by what it unwraps (`vault`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from shamir_mnemonic import MnemonicError, Share, combine_mnemonics, generate_mnemonics

from zonegate.errors import ZoneGateError
from zonegate.reasons import Reason

MASTER_BYTES = 32
HOLDERS_MAX = 16
THRESHOLD_MIN = 2
SHARE_MAX_CHARS = 512
NAME_MAX_CHARS = 64
# Holders who do not come together within this time begin anew: shares do not lie in memory over lunch.
HOLD = timedelta(minutes=15)


@dataclass(frozen=True, slots=True)
class Split:
    """One splitting of one master key: its mark, m, and the holders in the order of their shares. No secret."""

    generation: int
    identifier: int
    threshold: int
    holders: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the holders are: who has given, whose shares would still do, how many of them are needed."""

    given: tuple[str, ...]
    outstanding: tuple[str, ...]
    needed: int

    def __str__(self) -> str:
        if not self.needed:
            return f"complete 已齐: {', '.join(self.given)}"
        return f"{self.needed} more of 还需以下人员中 {self.needed} 位: {', '.join(self.outstanding)}"


def split(master: bytes, *, generation: int, threshold: int, holders: Sequence[str]) -> tuple[Split, tuple[str, ...]]:
    """Return the record of the split and one share for each of `holders`, in their order."""
    check_holders(threshold, holders)
    # No passphrase: the words alone are the share, so the passphrase's key derivation is left at its least.
    (texts,) = generate_mnemonics(1, [(threshold, len(holders))], master, iteration_exponent=0)
    identifier = Share.from_mnemonic(texts[0]).identifier
    return Split(generation, identifier, threshold, tuple(holders)), tuple(texts)


def check_holders(threshold: int, holders: Sequence[str]) -> None:
    """Refuse, with E_CONFIG, a split that protects nothing or cannot be told apart by name."""
    problem = None
    if not THRESHOLD_MIN <= threshold <= len(holders) <= HOLDERS_MAX:
        problem = f"threshold: {threshold} of {len(holders)}, allowed is 2 to all of at most {HOLDERS_MAX}"
    elif len(set(holders)) != len(holders):
        problem = "holders: one name stands twice, every share has a holder of its own"
    elif not all(0 < len(name) <= NAME_MAX_CHARS and name.isprintable() for name in holders):
        problem = f"holders: a name must be 1 to {NAME_MAX_CHARS} visible characters"
    if problem is not None:
        raise ZoneGateError(Reason.E_CONFIG, problem)


class Gathering:
    """Collects shares of one split; not safe for several threads at once: the centre holds its lock."""

    def __init__(self, wanted: Split) -> None:
        self.wanted = wanted
        self._shares: dict[int, str] = {}
        self._since: datetime | None = None

    @property
    def progress(self) -> Progress:
        """Who has given and who may still."""
        holders = self.wanted.holders
        given = tuple(holders[index] for index in sorted(self._shares))
        outstanding = tuple(name for index, name in enumerate(holders) if index not in self._shares)
        return Progress(given, outstanding, self.wanted.threshold - len(self._shares))

    def forget(self) -> None:
        """Drop every share."""
        self._shares.clear()
        self._since = None

    def expire(self, *, now: datetime) -> None:
        """Drop what has been lying here for too long, also when the clock was set back."""
        if self._since is not None and not timedelta(0) <= now - self._since < HOLD:
            self.forget()

    def give(self, text: str, *, now: datetime) -> bytes | None:
        """Take one share; the master key when it was the last one needed. A refused share changes nothing."""
        self.expire(now=now)
        index, words = _read(text, self.wanted)
        if index in self._shares:
            raise ZoneGateError(Reason.E_KEY_SHARE, f"share: {self.wanted.holders[index]} has given his already")
        self._shares[index] = words
        self._since = self._since or now
        if len(self._shares) < self.wanted.threshold:
            return None
        texts = list(self._shares.values())
        self.forget()
        try:
            master: bytes = combine_mnemonics(texts)
        except MnemonicError as exc:
            detail = "shares: they do not belong together; all were dropped, begin anew"
            raise ZoneGateError(Reason.E_KEY_SHARE, detail) from exc
        return master


def _read(text: str, wanted: Split) -> tuple[int, str]:
    """Return the place of a share in `wanted` and its words; the refusal never quotes a word of it."""
    words = " ".join(text.lower().split())
    if not 0 < len(words) <= SHARE_MAX_CHARS:
        raise ZoneGateError(
            Reason.E_KEY_SHARE, f"share: is {len(words)} characters, 1 to {SHARE_MAX_CHARS} are allowed"
        )
    try:
        share = Share.from_mnemonic(words)
    except (MnemonicError, ValueError, KeyError, IndexError):
        # The library's message quotes the word that it does not know.
        detail = "share: is mistyped, its checksum does not hold"
        raise ZoneGateError(Reason.E_KEY_SHARE, detail) from None
    if (share.identifier, share.group_count, share.group_threshold, share.member_threshold, len(share.value)) != (
        wanted.identifier,
        1,
        1,
        wanted.threshold,
        MASTER_BYTES,
    ):
        raise ZoneGateError(Reason.E_KEY_SHARE, "share: is of another split, an older one or another centre's")
    if share.index >= len(wanted.holders):
        raise ZoneGateError(Reason.E_KEY_SHARE, "share: belongs to none of the holders of this split")
    return share.index, words

"""Classes of keys and the stages of an escrowed key's life (standards.md C9, MP-04) [d].

A table and the allowed steps; the database refuses every other step once more. Which act is a stage of which life is
written in the audit under the name of the act.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from zonegate.errors import ZoneGateError
from zonegate.pki.oids import Profile
from zonegate.reasons import Reason


class KeyState(StrEnum):
    """Which store a key is in: 备用, 在用, 历史, and destroyed, where only its public half is left."""

    STANDBY = "standby"
    IN_USE = "in-use"
    HISTORY = "history"
    DESTROYED = "destroyed"


# Never back: a key that was given out once is nobody else's.
STEPS: Mapping[KeyState, frozenset[KeyState]] = MappingProxyType(
    {
        KeyState.STANDBY: frozenset({KeyState.IN_USE, KeyState.DESTROYED}),
        KeyState.IN_USE: frozenset({KeyState.HISTORY}),
        KeyState.HISTORY: frozenset({KeyState.DESTROYED}),
        KeyState.DESTROYED: frozenset(),
    }
)


def check_step(before: KeyState, after: KeyState) -> None:
    """Refuse, with E_KEY_STATE, a step that is no part of a key's life."""
    if after not in STEPS[before]:
        allowed = ", ".join(sorted(state.value for state in STEPS[before])) or "nothing"
        raise ZoneGateError(
            Reason.E_KEY_STATE, f"key: is {before.value}, from there it may become {allowed}, not {after.value}"
        )


class KeyClass(StrEnum):
    """The rows of C9."""

    ROOT_CA = "root-ca"
    SERVICE = "service"
    KMC_MASTER = "kmc-master"
    USER_SIGNING = "user-signing"
    USER_ENCRYPTION = "user-encryption"
    GATEWAY_SIGNING = "gateway-signing"
    GATEWAY_ENCRYPTION = "gateway-encryption"
    AUDIT_SIGNING = "audit-signing"


@dataclass(frozen=True, slots=True)
class KeyRules:
    """Where a key of a class is made and kept, whether the centre holds a copy, what ends it."""

    made_by: str
    kept: str
    escrowed: bool
    ends: str


CLASSES: Mapping[KeyClass, KeyRules] = MappingProxyType(
    {
        KeyClass.ROOT_CA: KeyRules("ceremony", "offline", escrowed=False, ends="ceremony"),
        KeyClass.SERVICE: KeyRules("its host", "key store", escrowed=False, ends="overwritten"),
        KeyClass.KMC_MASTER: KeyRules("ceremony", "shares of m-of-n holders", escrowed=False, ends="overwritten"),
        KeyClass.USER_SIGNING: KeyRules("its user", "token or file", escrowed=False, ends="on revocation"),
        KeyClass.USER_ENCRYPTION: KeyRules("centre", "user and centre", escrowed=True, ends="history kept"),
        KeyClass.GATEWAY_SIGNING: KeyRules("its gateway", "key store", escrowed=False, ends="on rotation"),
        KeyClass.GATEWAY_ENCRYPTION: KeyRules("centre", "gateway and centre", escrowed=True, ends="history kept"),
        KeyClass.AUDIT_SIGNING: KeyRules("its host", "key store", escrowed=False, ends="public half kept"),
    }
)

_CLASS_OF_PROFILE: Mapping[Profile, KeyClass] = MappingProxyType(
    {
        Profile.ROOT: KeyClass.ROOT_CA,
        Profile.SUB_CA: KeyClass.SERVICE,
        Profile.OCSP: KeyClass.SERVICE,
        Profile.TSA: KeyClass.SERVICE,
        Profile.GATEWAY: KeyClass.GATEWAY_SIGNING,
        Profile.SYSTEM: KeyClass.USER_SIGNING,
        Profile.OFFICER: KeyClass.USER_SIGNING,
        Profile.EVIDENCE: KeyClass.AUDIT_SIGNING,
        Profile.GATEWAY_ENCRYPTION: KeyClass.GATEWAY_ENCRYPTION,
        Profile.SYSTEM_ENCRYPTION: KeyClass.USER_ENCRYPTION,
        Profile.OFFICER_ENCRYPTION: KeyClass.USER_ENCRYPTION,
    }
)


def check_escrow(profile: Profile) -> None:
    """Refuse, with E_NOT_ESCROWED, to make or keep a key of a profile whose keys only their owner has (CA-05)."""
    key_class = _CLASS_OF_PROFILE.get(profile)
    if key_class is None or not CLASSES[key_class].escrowed:
        raise ZoneGateError(
            Reason.E_NOT_ESCROWED, f"profile: a key of {profile.value} is made and kept by its owner alone"
        )

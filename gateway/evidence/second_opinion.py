"""[d] A second opinion on seals: SM2 verification by gmssl, an independent implementation in pure Python.

Used by `zonegate evidence verify --second-opinion` and tests only. Verification needs no nonce, so gmssl's weak
randomness does not matter; it accepts points off the curve, so the point is checked first, with its own constants.
"""

from importlib import import_module
from typing import Any

from zonegate.errors import ZoneGateError
from zonegate.gm import der
from zonegate.reasons import Reason


def load() -> "GmsslOpinion":
    """Return the second implementation; `E_CONFIG` where it is not installed."""
    try:
        return GmsslOpinion(import_module("gmssl.sm2"))
    except ImportError as exc:
        problem = "second opinion: gmssl is not installed; install zonegate[second-opinion]"
        raise ZoneGateError(Reason.E_CONFIG, problem) from exc


class GmsslOpinion:
    """Verifies an SM2 signature under the certificate id with gmssl."""

    def __init__(self, module: Any) -> None:
        self._module = module

    def __call__(self, public_key: bytes, signature: bytes, message: bytes) -> None:
        """Return if `signature` (DER) of `message` verifies; `E_KEY` or `E_SIGNATURE` otherwise."""
        self._check_point(public_key)
        r, s = der.decode_signature(signature)
        engine = self._module.CryptSM2(private_key="", public_key="")
        # Its constructor strips every leading 0 and 4 from the hex, not only the 04.
        engine.public_key = public_key[1:].hex()
        if not engine.verify_with_sm3(f"{r:064x}{s:064x}", message):
            raise ZoneGateError(Reason.E_SIGNATURE, "the second implementation does not verify it")

    def _check_point(self, public_key: bytes) -> None:
        table = self._module.default_ecc_table
        p, a, b = (int(table[name], 16) for name in ("p", "a", "b"))
        x, y = int.from_bytes(public_key[1:33], "big"), int.from_bytes(public_key[33:], "big")
        if len(public_key) != 65 or x >= p or y >= p or (y * y - x * x * x - a * x - b) % p:
            raise ZoneGateError(Reason.E_KEY, "the public key is not a point of the curve")

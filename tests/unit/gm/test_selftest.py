"""Power-on self-test (CR-13): each corrupted answer and each sick random source stops the start."""

import ast
import itertools
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path

import pytest

import zonegate
from zonegate.errors import ZoneGateError
from zonegate.gm import selftest
from zonegate.reasons import Reason


@pytest.mark.req("CR-13")
def test_healthy() -> None:
    selftest.run()


# What is compared; the inputs beside them change the answer just as well.
WORDS = {
    "sm3_message": "SM3",
    "sm3_digest": "SM3",
    "sm4_key": "SM4",
    "sm4_block": "SM4",
    "gcm_nonce": "SM4-GCM",
    "gcm_aad": "SM4-GCM",
    "gcm_plaintext": "SM4-GCM",
    "gcm_sealed": "SM4-GCM",
    "sm2_scalar": "SM2 signature",
    "sm2_point": "SM2 signature",
    "sm2_message": "SM2 signature",
    "sm2_signature": "SM2 signature",
    "sm2_plaintext": "SM2 encryption",
    "sm2_ciphertext": "SM2 encryption",
}


def test_every_vector_is_in_the_table() -> None:
    assert {field.name for field in fields(selftest.Vectors)} == set(WORDS)


@pytest.mark.req("CR-13")
@pytest.mark.parametrize(("name", "words"), WORDS.items(), ids=WORDS)
def test_a_corrupted_vector_stops_the_start(name: str, words: str) -> None:
    good = getattr(selftest.PUBLISHED, name)
    bad = good ^ 1 if isinstance(good, int) else good[:-1] + bytes((good[-1] ^ 1,))
    with pytest.raises(ZoneGateError) as caught:
        selftest.run(replace(selftest.PUBLISHED, **{name: bad}))
    assert caught.value.reason is Reason.E_SELFTEST
    assert caught.value.detail.startswith(f"{words}:")


ALTERNATING = itertools.cycle((b"\x55\xaa", b"\xaa\x55"))
SICK: dict[str, Callable[[int], bytes]] = {
    "constant zero": bytes,
    "constant pattern": lambda size: bytes(range(size)),
    "two values": lambda size: next(ALTERNATING) * (size // 2),
    "short period": lambda size: os.urandom(4) * (size // 4),
    "nothing": lambda _size: b"",
}


@pytest.mark.req("CR-09", "CR-13")
@pytest.mark.parametrize("draw", SICK.values(), ids=SICK)
def test_a_sick_random_source_stops_the_start(draw: Callable[[int], bytes]) -> None:
    with pytest.raises(ZoneGateError) as caught:
        selftest.run(draw=draw)
    assert caught.value.reason is Reason.E_SELFTEST
    assert "random source" in caught.value.detail


@pytest.mark.req("CR-13")
@pytest.mark.parametrize(
    ("sabotage", "words"),
    [
        ("from zonegate.gm import _libcrypto; _libcrypto._MINIMUM = 0x90000000", "OpenSSL 3.0 or later"),
        ("from zonegate.gm import _libcrypto; _libcrypto._SIGNATURES['SM2_nothing'] = (None, ())", "SM2_nothing"),
        ("import hashlib; del hashlib.new; hashlib.new = lambda name: hashlib.__get_builtin_constructor(name)", "SM3"),
    ],
    ids=["old libcrypto", "libcrypto without a function", "hashlib without SM3"],
)
def test_a_machine_that_cannot_is_named(sabotage: str, words: str) -> None:
    code = f"{sabotage}\nfrom zonegate.gm import selftest\nselftest.run()\n"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "E_SELFTEST" in done.stderr
    assert words in done.stderr


@pytest.mark.req("CR-09")
def test_no_seeded_generator_in_the_sources() -> None:
    importers = []
    for path in sorted(Path(zonegate.__file__).parent.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            if any(name.split(".")[0] == "random" for name in names):
                importers.append(path.name)
    assert importers == []

"""The book of nonces: once, also between processes; a book that is gone is missed."""

import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from support.clock import NOON
from support.officers import World
from zonegate.approval.act import encode_proposal
from zonegate.approval.nonces import KEEP, SqliteNonceBook
from zonegate.errors import ZoneGateError
from zonegate.reasons import Reason

RACER = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from zonegate.approval.act import decode_proposal
from zonegate.approval.nonces import SqliteNonceBook
from zonegate.errors import ZoneGateError

book = SqliteNonceBook.open(Path(sys.argv[1]))
acts = [decode_proposal(Path(name).read_bytes()).act for name in sys.argv[2:]]
print("ready", flush=True)
sys.stdin.readline()
won = 0
for act in acts:
    try:
        book.spend(act, now=datetime(2030, 1, 1, 12, tzinfo=UTC))
    except ZoneGateError as exc:
        assert exc.reason == "E_APPROVAL_REPLAY", exc
    else:
        won += 1
print(won, flush=True)
"""
ACTS = 25


@pytest.mark.req("RO-05")
def test_two_processes_never_both_win(world: World, tmp_path: Path) -> None:
    book = tmp_path / "book"
    SqliteNonceBook.create(book)
    names = []
    for number in range(ACTS):
        path = tmp_path / f"act-{number}.json"
        path.write_bytes(encode_proposal(world.proposal()))
        names.append(str(path))
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", RACER, str(book), *names],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    for racer in racers:
        assert racer.stdout is not None
        assert racer.stdout.readline() == "ready\n"
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("go\n")
        racer.stdin.flush()
    won = [int(racer.communicate(timeout=60)[0]) for racer in racers]
    assert sum(won) == ACTS
    assert all(racer.returncode == 0 for racer in racers)


def spend_reason(book: SqliteNonceBook, world: World) -> Reason:
    with pytest.raises(ZoneGateError) as caught:
        book.spend(world.proposal().act, now=NOON)
    return caught.value.reason


def test_a_book_is_made_once_and_kept_private(tmp_path: Path) -> None:
    SqliteNonceBook.create(tmp_path / "book")
    assert (tmp_path / "book").stat().st_mode & 0o077 == 0
    for make in (SqliteNonceBook.create, lambda path: SqliteNonceBook.open(path.with_name("none"))):
        with pytest.raises(ZoneGateError) as caught:
            make(tmp_path / "book")
        assert caught.value.reason is Reason.E_LEDGER


def test_a_book_that_is_taken_away_is_missed(world: World, tmp_path: Path) -> None:
    book = SqliteNonceBook.create(tmp_path / "book")
    for path in tmp_path.glob("book*"):
        path.unlink()
    assert spend_reason(book, world) is Reason.E_LEDGER
    assert not (tmp_path / "book").exists()


def test_a_file_that_is_no_book(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    (tmp_path / "text").write_text("not a database, but long enough to have a header of its own " * 20)
    for name in ("empty", "text"):
        with pytest.raises(ZoneGateError) as caught:
            SqliteNonceBook.open(tmp_path / name)
        assert caught.value.reason is Reason.E_LEDGER


def test_a_nonce_is_forgotten_long_after_its_act(world: World, tmp_path: Path) -> None:
    book = SqliteNonceBook.create(tmp_path / "book")
    act = world.proposal().act
    book.spend(act, now=NOON)
    last = act.not_after + KEEP
    with pytest.raises(ZoneGateError) as caught:
        book.spend(act, now=last)
    assert caught.value.reason is Reason.E_APPROVAL_REPLAY
    book.spend(act, now=last + timedelta(seconds=1))

"""Tables of the key centre, and what the database itself refuses: a step back, a second owner, a deleted row.

Private keys stand here sealed only. Meta and audit are the tables of `ca.schema`. No logic here.
"""

from sqlalchemy import (
    DDL,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    UniqueConstraint,
    event,
)

SCHEMA_VERSION = 1

metadata = MetaData()

masters = Table(
    "masters",
    metadata,
    Column("generation", Integer, primary_key=True, autoincrement=False),
    Column("identifier", Integer, nullable=False),
    Column("threshold", Integer, nullable=False),
    Column("made_at", String, nullable=False),
)

holders = Table(
    "holders",
    metadata,
    Column("generation", Integer, ForeignKey("masters.generation"), primary_key=True),
    Column("place", Integer, primary_key=True, autoincrement=False),
    Column("name", String, nullable=False),
    UniqueConstraint("generation", "name"),
)

data_keys = Table(
    "data_keys",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("generation", Integer, ForeignKey("masters.generation"), nullable=False),
    # None: destroyed. What it sealed was sealed anew before.
    Column("wrapped", LargeBinary),
    Column("made_at", String, nullable=False),
)

keys = Table(
    "keys",
    metadata,
    Column("key_id", String(32), primary_key=True),
    Column("state", String, CheckConstraint("state IN ('standby', 'in-use', 'history', 'destroyed')"), nullable=False),
    Column("point", LargeBinary, nullable=False, unique=True),
    Column("data_key", Integer, ForeignKey("data_keys.number"), nullable=False),
    Column("sealed", LargeBinary),
    Column("made_at", String, nullable=False),
    Column("ca", String),
    Column("serial", String(40)),
    Column("holder", String),
    Column("given_at", String),
    Column("archived_at", String),
    Column("archive_reason", String),
    Column("destroyed_at", String),
    UniqueConstraint("ca", "serial", name="one_key_a_certificate"),
    CheckConstraint("(state = 'destroyed') = (sealed IS NULL)", name="destroyed_has_no_key"),
    CheckConstraint("(ca IS NULL) = (serial IS NULL)", name="owner_is_whole"),
    CheckConstraint("state <> 'standby' OR serial IS NULL", name="standby_is_nobodys"),
    CheckConstraint("state IN ('standby', 'destroyed') OR serial IS NOT NULL", name="given_has_owner"),
)
Index("by_state", keys.c.state, keys.c.made_at)

# Nonces are kept for ever: a clock that is set back must not make an old request new.
nonces = Table(
    "nonces",
    metadata,
    Column("ca", String, primary_key=True),
    Column("nonce", LargeBinary, primary_key=True),
    Column("at", String, nullable=False),
)

_STEPS = "(OLD.state = 'standby' AND NEW.state IN ('in-use', 'destroyed')) OR (OLD.state = 'in-use' AND \
NEW.state = 'history') OR (OLD.state = 'history' AND NEW.state = 'destroyed')"
_TRIGGERS = (
    (
        keys,
        f"keys_steps BEFORE UPDATE ON keys WHEN OLD.state <> NEW.state AND NOT ({_STEPS})",
        "a key never steps back",
    ),
    (
        keys,
        "keys_owner BEFORE UPDATE ON keys WHEN OLD.serial IS NOT NULL AND "
        "(OLD.serial IS NOT NEW.serial OR OLD.ca IS NOT NEW.ca OR OLD.holder IS NOT NEW.holder)",
        "a key has one owner for ever",
    ),
    (keys, "keys_point BEFORE UPDATE ON keys WHEN OLD.point <> NEW.point", "the public half never changes"),
    (keys, "keys_no_delete BEFORE DELETE ON keys", "rows stay"),
    (nonces, "nonces_no_delete BEFORE DELETE ON nonces", "rows stay"),
    (nonces, "nonces_no_update BEFORE UPDATE ON nonces", "rows stay"),
)
for _table, _when, _why in _TRIGGERS:
    event.listen(
        _table,
        "after_create",
        DDL(  # type: ignore[no-untyped-call] # SQLAlchemy leaves it untyped
            f"CREATE TRIGGER {_when} BEGIN SELECT RAISE(ABORT, '{_table.name}: {_why}'); END"
        ).execute_if(dialect="sqlite"),
    )

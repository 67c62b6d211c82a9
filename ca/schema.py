"""Tables of the ledger, and what the database itself refuses: two certificates of one key, a changed audit row.

SQLAlchemy Core; times are RFC 3339 text in UTC, serials 32 hexadecimal digits. No logic here.
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
    text,
)

SCHEMA_VERSION = 1

metadata = MetaData()

meta = Table(
    "meta",
    metadata,
    Column("key", String, primary_key=True),
    Column("value", String, nullable=False),
)

certificates = Table(
    "certificates",
    metadata,
    Column("serial", String(32), primary_key=True),
    Column("issuer", String, nullable=False),
    Column("profile", String, nullable=False),
    Column("subject", String, nullable=False),
    Column("identity", String),
    Column("key_digest", String(64), nullable=False),
    Column("tbs_digest", String(64), nullable=False),
    Column("not_before", String, nullable=False),
    Column("not_after", String, nullable=False),
    Column("state", String, CheckConstraint("state IN ('reserved', 'issued')"), nullable=False),
    Column("reserved_at", String, nullable=False),
    Column("issued_at", String),
    Column("der", LargeBinary),
    CheckConstraint("(state = 'issued') = (der IS NOT NULL)", name="issued_has_certificate"),
)
# A row that a crash left reserved does not bar its key for ever; a certificate does.
Index(
    "one_certificate_a_key",
    certificates.c.key_digest,
    unique=True,
    sqlite_where=text("state = 'issued'"),
    postgresql_where=text("state = 'issued'"),
)
Index("by_identity", certificates.c.identity)

revocations = Table(
    "revocations",
    metadata,
    Column("serial", String(32), ForeignKey("certificates.serial"), primary_key=True),
    Column("reason", String, nullable=False),
    Column("at", String, nullable=False),
)

# CA-04: which encryption certificate the key centre was asked a key for, and what became of it. No key stands here.
key_requests = Table(
    "key_requests",
    metadata,
    Column("serial", String(32), primary_key=True),
    Column("asked_at", String, nullable=False),
    Column("state", String, CheckConstraint("state IN ('asked', 'certified', 'leaving', 'settled')"), nullable=False),
)

crls = Table(
    "crls",
    metadata,
    Column("issuer", String, primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("this_update", String, nullable=False),
    Column("next_update", String, nullable=False),
    Column("digest", String(64)),
    # crypto-facts: of two lists of one second a verifier keeps the first it saw.
    UniqueConstraint("issuer", "this_update", name="one_list_a_second"),
)

audit = Table(
    "audit",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("at", String, nullable=False),
    Column("actor", String, nullable=False),
    Column("act", String, nullable=False),
    Column("target", String, nullable=False),
    Column("result", String, CheckConstraint("result IN ('done', 'refused')"), nullable=False),
    Column("reason", String, nullable=False),
    Column("detail", String, nullable=False),
    Column("previous", String(64), nullable=False),
    Column("digest", String(64), nullable=False),
)

event.listen(
    certificates,
    "after_create",
    DDL(  # type: ignore[no-untyped-call] # SQLAlchemy leaves it untyped
        "CREATE TRIGGER certificates_issued_once BEFORE UPDATE ON certificates WHEN OLD.state = 'issued' "
        "BEGIN SELECT RAISE(ABORT, 'certificates: an issued row never changes'); END"
    ).execute_if(dialect="sqlite"),
)
for _table, _acts in ((audit, ("UPDATE", "DELETE")), (certificates, ("DELETE",)), (crls, ("DELETE",))):
    for _act in _acts:
        event.listen(
            _table,
            "after_create",
            DDL(  # type: ignore[no-untyped-call] # SQLAlchemy leaves it untyped
                f"CREATE TRIGGER {_table.name}_no_{_act.lower()} BEFORE {_act} ON {_table.name} "
                f"BEGIN SELECT RAISE(ABORT, '{_table.name}: rows are only added'); END"
            ).execute_if(dialect="sqlite"),
        )

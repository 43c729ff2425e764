"""The tables of holds.db. What is in there is in the ledger's lines, too: it is never migrated.

Amounts are units (`units.py`), NULL where not known. Ids are the 16 bytes of their UUID, or text
where they are none. `total` and `talk` are sums of the requests that ended.
"""

from typing import Final

import apsw

from patina.store.index.errors import DamagedError

APPLICATION: Final = 0x50_61_74_6D
VERSION: Final = 2

SUMS: Final = (
    "requests",
    "input",
    "output",
    "cache_read",
    "cache_write",
    "reasoning",
    "cost",
    "unknown",
    "estimated",
    "duration_ms",
)
LABELS: Final = ("provider", "model", "purpose", "server", "source", "price_date")
_SUMS: Final = ", ".join(f"{name} INTEGER NOT NULL" for name in SUMS)
_TABLES: Final = f"""\
CREATE TABLE label(
    id INTEGER PRIMARY KEY, provider TEXT NOT NULL, model TEXT NOT NULL, purpose TEXT NOT NULL,
    server TEXT NOT NULL, source TEXT NOT NULL, price_date TEXT NOT NULL,
    UNIQUE(provider, model, purpose, server, source, price_date));
CREATE TABLE file(
    name TEXT PRIMARY KEY, inode TEXT NOT NULL, offset INTEGER NOT NULL,
    tail BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE entry(
    n INTEGER PRIMARY KEY, id NOT NULL UNIQUE, day TEXT NOT NULL, at TEXT NOT NULL,
    expires INTEGER NOT NULL, label INTEGER NOT NULL, conversation NOT NULL, turn NOT NULL,
    run NOT NULL, outcome TEXT NOT NULL, held INTEGER, cost INTEGER, input INTEGER NOT NULL,
    output INTEGER NOT NULL, cache_read INTEGER NOT NULL, cache_write INTEGER NOT NULL,
    reasoning INTEGER NOT NULL, estimated INTEGER NOT NULL, tier TEXT NOT NULL,
    first_token_ms INTEGER, duration_ms INTEGER NOT NULL, rev INTEGER NOT NULL, line NOT NULL);
CREATE INDEX entry_day ON entry(day, at);
CREATE INDEX entry_conversation ON entry(conversation);
CREATE INDEX entry_turn ON entry(turn) WHERE turn <> '';
CREATE INDEX entry_run ON entry(run) WHERE run <> '';
CREATE INDEX entry_open ON entry(expires) WHERE outcome = 'held';
CREATE TABLE total(
    day TEXT NOT NULL, label INTEGER NOT NULL, {_SUMS}, PRIMARY KEY(day, label)) WITHOUT ROWID;
CREATE TABLE talk(
    conversation NOT NULL, day TEXT NOT NULL, {_SUMS},
    PRIMARY KEY(conversation, day)) WITHOUT ROWID;
CREATE TABLE told(mark TEXT PRIMARY KEY) WITHOUT ROWID;
"""
_FILLED: Final = ("label", "file", "entry", "total", "talk", "told")


def prepare(db: apsw.Connection) -> None:
    """Make the tables unless they are there. Raises `DamagedError` for those of another version."""
    version, application = db.pragma("user_version"), db.pragma("application_id")
    if (application, version) == (APPLICATION, VERSION):
        return
    if version or application or db.execute("SELECT 1 FROM sqlite_schema").fetchone():
        raise DamagedError(f"version {version} of application {application}")
    db.execute(_TABLES)
    db.pragma("application_id", APPLICATION)
    db.pragma("user_version", VERSION)


def clear(db: apsw.Connection) -> None:
    """Empty all tables."""
    for table in _FILLED:
        db.execute(f"DELETE FROM {table}")  # noqa: S608 - names of our own

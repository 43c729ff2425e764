"""Secrets in one encrypted file, whose key is elsewhere."""

import logging
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from msgspec import Struct, structs

from patina.model.faults import ConfigFault, UsageFault
from patina.secrets.envelope import (
    Body,
    Envelope,
    Home,
    Mark,
    Record,
    damaged,
    read_envelope,
    seal,
    unseal,
)
from patina.secrets.homes import KeyHomes
from patina.secrets.index import NameIndex, Names
from patina.secrets.key_file import KeyFile
from patina.secrets.legacy import read_legacy
from patina.secrets.names import INTERNAL, check_name
from patina.secrets.private import read_private

# Replaces a file's content by `change(content)`: atomic, locked against other processes, 0600.
Update = Callable[[Path, Callable[[bytes], bytes]], None]
T = TypeVar("T")
_log = logging.getLogger(__name__)


def _tell_nobody(_: str) -> None:
    pass


class Places(Struct, frozen=True):
    """The files: the encrypted one, the one of before it, and where names are kept for speed."""

    file: Path
    legacy: Path | None = None
    index: Path | None = None


class _Opened(Struct, frozen=True):
    nonce: bytes
    mark: Mark
    key: bytes
    body: Body


class Vault:
    """`Keys` in an encrypted file, which `update` replaces. Safe with threads and processes.

    The file is opened when a value is needed, and everything in it is then told to `seen`, to be
    masked; what Patina's own records hold, which changes often, to `seen_in_records`. What was kept
    in the legacy file moves here when anything is first asked for. Methods raise `ConfigFault`
    where the file, or its key, cannot be used; such a file is never replaced. They block, for some
    seconds where a keychain is slow, and may ask for a passphrase.
    """

    def __init__(
        self,
        places: Places,
        homes: KeyHomes,
        update: Update,
        seen: Callable[[str], None] = _tell_nobody,
        seen_in_records: Callable[[str], None] | None = None,
    ) -> None:
        self.homes = homes
        self._places = places
        self._update = update
        self._seen = seen
        self._seen_in_records = seen_in_records or seen
        self._index = NameIndex(places.index, update)
        self._opened: _Opened | None = None
        self._lock = threading.RLock()

    @property
    def path(self) -> Path:
        """Where the file is."""
        return self._places.file

    def get(self, name: str) -> str | None:
        """Return a secret."""
        with self._lock:
            return self._open().secrets.get(name) if name in self._names().secrets else None

    def set(self, name: str, value: str) -> None:
        """Keep a secret. Raises `UsageFault` for a bad name or an empty value."""
        check_name(name)
        if not value:
            raise UsageFault(f'The secret "{name}" is empty.', hint="Nothing was kept.")
        self._seen(value)
        self._change(lambda body: structs.replace(body, secrets={**body.secrets, name: value}))

    def remove(self, name: str) -> bool:
        """Forget a secret. Whether there was one."""
        there: list[str] = []

        def without(body: Body) -> Body:
            there[:] = [name] if name in body.secrets else []
            return structs.replace(body, secrets=_without(body.secrets, name))

        with self._lock:
            if name in self._names().secrets:
                self._change(without)
        return bool(there)

    def names(self) -> Sequence[str]:
        """Return the names of all kept secrets, sorted."""
        with self._lock:
            return sorted(self._names().secrets)

    def read(self, name: str) -> bytes | None:
        """Return the record of Patina's own with this name, which begins with `INTERNAL`."""
        with self._lock:
            if name not in self._names().records:
                return None
            record = self._open().records.get(name)
            return record.content if record is not None else None

    def change(
        self,
        name: str,
        change: Callable[[bytes | None], bytes | None],
        secrets: Sequence[str] = (),
    ) -> None:
        """Replace a record of Patina's own by `change(record)`, None standing for none.

        No other writer comes in between. `secrets` are what is to be masked of it.
        """
        if not name.startswith(INTERNAL):
            raise ValueError(f"records have names that begin with {INTERNAL}")
        for secret in secrets:
            self._seen_in_records(secret)

        def changed(body: Body) -> Body:
            old = body.records.get(name)
            content = change(old.content if old is not None else None)
            records = _without(body.records, name)
            if content is not None:
                records[name] = Record(content, tuple(secrets))
            return structs.replace(body, records=records)

        self._change(changed)

    def records(self) -> Sequence[str]:
        """Return the names of Patina's own records, sorted."""
        with self._lock:
            return sorted(self._names().records)

    def home(self) -> Home | None:
        """Return where the key is, None where nothing is kept yet. Opens nothing."""
        with self._lock:
            envelope = self._envelope()
            return envelope.key.home if envelope is not None else None

    def unlock(self) -> None:
        """Open the file now, where there is one; this may ask for a passphrase."""
        with self._lock:
            self._open()

    def check(self) -> None:
        """Raise the fault that keeps the file from being opened; asks for no passphrase."""
        with self._lock:
            envelope = self._envelope()
            if envelope is not None and not self._holds(envelope):
                key = self.homes.find(envelope.key, may_ask=False)
                self._keep(envelope, key, unseal(envelope, key, self.path))

    def rekey(self, home: Home | None = None) -> tuple[Home, Sequence[str]]:
        """Encrypt everything with a new key, which `home` has from then on; None: the same home.

        The new key is kept before anything is encrypted with it, and the old one forgotten after
        that: whenever this is cut short, the file opens with a key that is still there. Returns
        the home, and sentences about old keys that could not be removed.
        """
        with self._lock:
            self._move_legacy()
            before = self.home()
            self._open()  # what has to be asked is asked before others have to wait
            target = home or before
            new = self.homes.prepare(target, before) if target else self.homes.first()
            replaced: list[Mark] = []

            def sealed(content: bytes) -> bytes:
                replaced[:] = []
                body = Body()
                if not self._is_new(content):
                    opened = self._unsealed(content)
                    replaced.append(opened.mark)
                    body = opened.body
                if target:
                    self.homes.store(new)
                return self._seal(new.mark, new.key, body)

            self._update(self.path, sealed)
            self._save_names()
            notes = [self.homes.forget(mark) for mark in replaced]
            return new.mark.home, [note for note in notes if note]

    def _change(self, change: Callable[[Body], Body]) -> None:
        with self._lock:
            self._move_legacy()
            self._rewrite(change)

    def _rewrite(self, change: Callable[[Body], Body]) -> None:
        """Replace what is kept by `change` of it. Nothing is written where that is the same."""
        self._open()  # what has to be asked is asked before others have to wait

        def replace(content: bytes) -> bytes:
            if not self._is_new(content):
                opened = self._unsealed(content)
                after = change(opened.body)
                same = after == opened.body
                return content if same else self._seal(opened.mark, opened.key, after)
            after = change(Body())
            if after == Body():
                return content
            new = self.homes.first()
            return self._seal(new.mark, new.key, after)

        self._update(self.path, replace)
        self._save_names()

    def _save_names(self) -> None:
        if self._opened is not None:
            self._index.save(self._opened.nonce, _names_in(self._opened.body))

    def _seal(self, mark: Mark, key: bytes, body: Body) -> bytes:
        content, nonce = seal(mark, key, body)
        self._opened = _Opened(nonce, mark, key, body)
        return content

    def _is_new(self, content: bytes) -> bool:
        if content:
            return False
        if self.path.exists():
            raise damaged(self.path)  # it was cut to nothing: that is no reason to begin anew
        return True

    def _names(self) -> Names:
        self._move_legacy()
        envelope = self._envelope()
        if envelope is None:
            return Names()
        if self._opened is not None and self._opened.nonce == envelope.nonce:
            return _names_in(self._opened.body)
        known = self._index.load(envelope.nonce)
        if known is None:
            known = _names_in(self._open())
            self._index.save(envelope.nonce, known)
        return known

    def _open(self) -> Body:
        envelope = self._envelope()
        return self._body_of(envelope).body if envelope is not None else Body()

    def _envelope(self) -> Envelope | None:
        content = read_private(self.path)
        return read_envelope(content, self.path) if content is not None else None

    def _unsealed(self, content: bytes) -> _Opened:
        return self._body_of(read_envelope(content, self.path))

    def _body_of(self, envelope: Envelope) -> _Opened:
        opened = self._opened
        if opened is not None and opened.nonce == envelope.nonce and opened.mark == envelope.key:
            return opened
        known = opened is not None and opened.mark == envelope.key
        key = opened.key if opened is not None and known else self.homes.find(envelope.key)
        return self._keep(envelope, key, unseal(envelope, key, self.path))

    def _holds(self, envelope: Envelope) -> bool:
        opened = self._opened
        return opened is not None and opened.nonce == envelope.nonce and opened.mark == envelope.key

    def _keep(self, envelope: Envelope, key: bytes, body: Body) -> _Opened:
        for value in body.secrets.values():
            self._seen(value)
        for record in body.records.values():
            for secret in record.secrets:
                self._seen_in_records(secret)
        self._opened = _Opened(envelope.nonce, envelope.key, key, body)
        return self._opened

    def _move_legacy(self) -> None:
        """Take over what the file of before holds. Cut short, or done by two, it is done again."""
        legacy = self._places.legacy
        if legacy is None or not legacy.exists():
            return
        taken: list[dict[str, str]] = []

        def merged(body: Body) -> Body:
            old = read_legacy(legacy)
            if not old:
                return body
            taken.append(old)
            newer = not self.path.exists() or _changed(legacy) > _changed(self.path)
            # Of two values the one that was written last: an older Patina may have been used.
            secrets = {**body.secrets, **old} if newer else {**old, **body.secrets}
            return structs.replace(body, secrets=secrets)

        self._rewrite(merged)
        for value in (value for old in taken for value in old.values()):
            self._seen(value)
        try:
            if read_legacy(legacy) in (None, {}, *taken[-1:]):
                legacy.unlink(missing_ok=True)
                legacy.with_name(f".{legacy.name}.lock").unlink(missing_ok=True)
        except (OSError, ConfigFault):
            _log.warning("%s was moved into %s, but could not be removed", legacy, self.path)


def _names_in(body: Body) -> Names:
    return Names(frozenset(body.secrets), frozenset(body.records))


def _without(kept: dict[str, T], name: str) -> dict[str, T]:
    return {key: value for key, value in kept.items() if key != name}


def _changed(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def key_file_vault(
    file: Path, key_file: Path, update: Update, seen: Callable[[str], None] = _tell_nobody
) -> Vault:
    """Return the vault in `file` with its key in `key_file`, whatever else this computer has."""
    return Vault(Places(file), KeyHomes(KeyFile(key_file, update), {}), update, seen)

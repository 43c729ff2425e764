"""The endpoints' own lists of models, kept in the cache: one file for each provider."""

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, TypeVar
from zlib import crc32

import msgspec
from msgspec import Struct

from patina.model.chat import ModelInfo
from patina.providers.catalog import files

_VERSION: Final = 1
_UNFIT: Final = re.compile(r"[^a-z0-9_-]+")


class KeptList(Struct, frozen=True):
    """What an endpoint offered when it was asked last. `fetched` is that moment, in UTC."""

    models: tuple[ModelInfo, ...]
    fetched: datetime


class _Head(Struct, frozen=True):
    """A file without its models. They were listed by `base_url`; another one's are not these."""

    version: int
    provider: str
    base_url: str
    fetched: datetime


class _Whole(_Head, frozen=True):
    models: dict[str, ModelInfo]


class _Closed(_Head, frozen=True):
    """A file whose models stay unread: one of thousands is wanted."""

    models: dict[str, msgspec.Raw]


_File = TypeVar("_File", _Whole, _Closed)


class Lists:
    """The kept lists below `folder`; None keeps nothing. Nothing here ever fails."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._closed: dict[tuple[str, str], _Closed | None] = {}

    def load(self, provider: str, base_url: str) -> KeptList | None:
        """Return what `base_url` listed for `provider`, None where that is not known."""
        found = self._read(provider, base_url, _Whole)
        return KeptList(tuple(found.models.values()), found.fetched) if found else None

    def find(self, provider: str, base_url: str, model: str) -> tuple[ModelInfo, str] | None:
        """Return one model of a list, and the day (YYYY-MM-DD) of it. The file is read once."""
        place = (provider, base_url)
        if place not in self._closed:
            self._closed[place] = self._read(provider, base_url, _Closed)
        closed = self._closed[place]
        raw = closed.models.get(model) if closed else None
        if closed is None or raw is None:
            return None
        try:
            return msgspec.json.decode(raw, type=ModelInfo), closed.fetched.date().isoformat()
        except ValueError:  # what is no UTF-8 is no MsgspecError
            return None

    def save(
        self, provider: str, base_url: str, models: tuple[ModelInfo, ...], fetched: datetime
    ) -> None:
        """Keep a list, if that can be done."""
        self._closed.pop((provider, base_url), None)
        if self._folder is not None:
            by_name = {info.model: info for info in models}
            whole = _Whole(_VERSION, provider, base_url, fetched.astimezone(UTC), by_name)
            files.write(self._path(self._folder, provider), msgspec.json.encode(whole))

    def forget(self, provider: str) -> None:
        """Drop what is kept of `provider`."""
        if self._folder is not None:
            files.remove(self._path(self._folder, provider))

    def _read(self, provider: str, base_url: str, shape: type[_File]) -> _File | None:
        if self._folder is None:
            return None
        try:
            found = msgspec.json.decode(files.read(self._path(self._folder, provider)), type=shape)
        except (ValueError, RecursionError):  # what is no UTF-8 is no MsgspecError
            return None
        fits = (found.version, found.provider, found.base_url) == (_VERSION, provider, base_url)
        return found if fits and found.fetched.tzinfo is not None else None

    def _path(self, folder: Path, provider: str) -> Path:
        # Names may hold anything, and some file systems do not tell A from a.
        slug = _UNFIT.sub("_", provider.lower())[:40]
        return folder / f"list-{slug}-{crc32(provider.encode()):08x}.json"

"""What the tools of a server were when a person let them in, kept in `<data>/pins/<server>.json`.

Consent to a server is consent to the tools that it lists first. From then on a tool that is new,
or is no longer what it was, is off until a person has seen the difference; so are all tools of a
server that changes its instructions. Pins belong to a server as it is configured: another command
or address is another server, which is consented to, and pinned, anew.
"""

import hashlib
import logging
import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Literal

import msgspec
from msgspec import Struct

from patina.mcp.definitions import Definition
from patina.mcp.files import replace
from patina.mcp.server_log import file_name
from patina.model.faults import StoreFault

Change = Literal["", "new", "changed"]
_VERSION: Final = 1
_NO_FILE: Final = (-1, -1)
_logger = logging.getLogger(__name__)


class Listing(Struct, frozen=True):
    """What a server says of itself: its tools, and the instructions that come with them."""

    tools: tuple[Definition, ...] = ()
    instructions: str = ""


class Waiting(Struct, frozen=True):
    """What of a server waits to be seen: names of its tools, and whether its instructions do.

    `gone` tools are told of, but wait for nobody. `first`: they were pinned just now.
    """

    changed: tuple[str, ...] = ()
    new: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()
    instructions: bool = False
    first: bool = False

    @property
    def any(self) -> bool:
        """Whether a tool is off until it is seen."""
        return bool(self.changed or self.new or self.instructions)


class _Pin(Struct, frozen=True):
    hash: str
    definition: Definition


class _File(Struct, frozen=True, kw_only=True, omit_defaults=True):
    version: int
    identity: str
    instructions: str = ""
    # What the server said last, where that is not what was pinned.
    other_instructions: str | None = None
    tools: dict[str, _Pin] = {}


class _Mark(Struct, frozen=True):
    hash: str


class _Marks(Struct, frozen=True, kw_only=True):
    """The same file without the definitions: they are only read to be shown."""

    version: int
    identity: str
    instructions: str = ""
    other_instructions: str | None = None
    tools: dict[str, _Mark] = {}


_marks: msgspec.json.Decoder[_Marks] = msgspec.json.Decoder(_Marks)
_files: msgspec.json.Decoder[_File] = msgspec.json.Decoder(_File)
# Stands for a file that cannot be read: it pins nothing, and everything waits to be seen.
_UNREADABLE: Final = _Marks(version=0, identity="")


def digest(definition: Definition) -> str:
    """Return the hash of what a tool says of itself; the order of keys is no difference.

    How calls of it run (`task`) is agreed with each connection and is not part of it.
    """
    what: list[Any] = [
        definition.name,
        definition.title,
        definition.description,
        definition.schema,
        definition.output_schema,
        definition.read_only,
        definition.destructive,
        definition.idempotent,
        definition.open_world,
    ]
    return hashlib.sha256(msgspec.json.encode(what, order="deterministic")).hexdigest()


class Pinned:
    """The pins of one server, of `identity`; without `marks` nothing is pinned yet."""

    def __init__(self, identity: str, marks: _Marks | None) -> None:
        self.identity = identity
        self.marks = marks

    def is_as(self, other: "Pinned") -> bool:
        """Whether both say the same of every tool."""
        return self.identity == other.identity and self.marks is other.marks

    def hash(self, definition: Definition) -> str:
        """Return what a grant is bound to: the definition, and whose it is."""
        return hashlib.sha256(f"{self.identity} {digest(definition)}".encode()).hexdigest()

    def change(self, definition: Definition) -> Change:
        """Return whether a tool waits to be seen. Without pins, none does yet."""
        return "" if self.marks is None else _change(self.marks, definition)


class Pins:
    """The pins of all servers. `key` returns the identity of a server as it is configured.

    Files are read again when they changed: another process may have accepted something. Where one
    cannot be written, the pins hold for this process.
    """

    def __init__(self, data: Path, key: Callable[[str], str]) -> None:
        self._folder = data / "pins"
        self._key = key
        self._kept: dict[str, tuple[tuple[int, int], _Marks | None]] = {}
        self._seen: dict[str, Listing] = {}
        self._told: dict[str, object] = {}
        self._names: dict[str, str] = {}

    def of(self, server: str) -> "Pinned":
        """Return the pins of `server` as they are now."""
        identity = self._key(server)
        return Pinned(identity, self._marks(server, identity))

    def see(self, server: str, listing: Listing) -> Waiting | None:
        """Note what the connected `server` lists now; the first time, pin it.

        Returns what there is to tell a person that was not told before; else None.
        """
        marks = self._marks(server, self._key(server))
        if marks is None:
            self._seen[server] = listing
            self._keep(server, listing)
            return Waiting(first=True)
        other = None if listing.instructions == marks.instructions else listing.instructions
        if other != marks.other_instructions and marks is not _UNREADABLE:
            marks = self._note(server, marks, other)
        waiting = _waiting(marks, listing)
        signature = (waiting, *(digest(one) for one in listing.tools if _change(marks, one)))
        self._seen[server] = listing
        if not waiting.any or self._told.get(server) == signature:
            return None
        self._told[server] = signature
        return waiting

    def seen(self, server: str) -> Listing | None:
        """Return what `server` listed last in this process, None where it was not connected."""
        return self._seen.get(server)

    def pinned(self, server: str) -> Listing | None:
        """Return what is pinned of `server`, None where nothing is or it cannot be read."""
        try:
            file = _files.decode(self._path(server).read_bytes())
        except (OSError, ValueError, RecursionError):
            return None
        if file.version != _VERSION or file.identity != self._key(server):
            return None
        tools = tuple(pin.definition for pin in file.tools.values())
        return Listing(tools, file.instructions)

    def waiting(self, server: str, listing: Listing) -> Waiting:
        """Return what of `listing` waits to be seen."""
        marks = self._marks(server, self._key(server))
        return Waiting() if marks is None else _waiting(marks, listing)

    def accept(self, server: str, listing: Listing) -> None:
        """Pin exactly `listing`, which a person has seen. Raises `StoreFault`."""
        try:
            self._write(server, _file(self._key(server), listing))
        except OSError as error:
            raise StoreFault(
                f"The tools cannot be pinned in {self._path(server)}: {error.strerror}.",
                hint="Check that the folder may be written to.",
            ) from None

    def forget(self, server: str) -> None:
        """Drop the pins of `server`, which is no longer configured."""
        self._kept.pop(server, None)
        self._told.pop(server, None)
        with suppress(OSError):
            self._path(server).unlink(missing_ok=True)

    def _note(self, server: str, marks: _Marks, other: str | None) -> _Marks:
        """Keep that `server` says other instructions now, or (None) again those it is pinned to."""
        try:
            file = _files.decode(self._path(server).read_bytes())
            self._write(server, msgspec.structs.replace(file, other_instructions=other))
        except (OSError, ValueError, RecursionError) as error:
            _logger.warning("the pins of %s cannot be kept: %s", server, error)
        noted = msgspec.structs.replace(marks, other_instructions=other)
        self._kept[server] = (self._stamp(server), noted)
        return noted

    def _keep(self, server: str, listing: Listing) -> None:
        file = _file(self._key(server), listing)
        try:
            self._write(server, file)
        except OSError as error:
            _logger.warning("the pins of %s cannot be kept: %s", server, error)
            self._kept[server] = (self._stamp(server), _marks_of(file))

    def _write(self, server: str, file: _File) -> None:
        replace(self._path(server), msgspec.json.encode(file))
        self._kept[server] = (self._stamp(server), _marks_of(file))

    def _marks(self, server: str, identity: str) -> _Marks | None:
        """Return what is pinned of `server`; None where nothing ever was, as it is configured."""
        stamp = self._stamp(server)
        kept = self._kept.get(server)
        if kept is None or kept[0] != stamp:
            kept = self._kept[server] = (stamp, self._read(server))
        marks = kept[1]
        if marks is None or marks is _UNREADABLE or marks.identity == identity:
            return marks
        return None

    def _read(self, server: str) -> _Marks | None:
        try:
            marks = _marks.decode(self._path(server).read_bytes())
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError, RecursionError):
            return _UNREADABLE
        return marks if marks.version == _VERSION else _UNREADABLE

    def _stamp(self, server: str) -> tuple[int, int]:
        name = self._names.get(server)
        if name is None:
            name = self._names[server] = str(self._path(server))
        try:
            status = os.stat(name)  # noqa: PTH116 - at each call of a tool, and a path costs more
        except OSError:
            return _NO_FILE
        return (status.st_mtime_ns, status.st_ino)

    def _path(self, server: str) -> Path:
        return self._folder / f"{file_name(server)}.json"


def _change(marks: _Marks, definition: Definition) -> Change:
    mark = marks.tools.get(definition.name)
    if mark is None:
        return "new"
    if marks.other_instructions is not None or mark.hash != digest(definition):
        return "changed"
    return ""


def _waiting(marks: _Marks, listing: Listing) -> Waiting:
    named = {one.name: one for one in listing.tools}
    known = {name: one for name, one in named.items() if name in marks.tools}
    changed = (name for name, one in known.items() if marks.tools[name].hash != digest(one))
    return Waiting(
        changed=tuple(sorted(changed)),
        new=tuple(sorted(named.keys() - marks.tools.keys())),
        gone=tuple(sorted(marks.tools.keys() - named.keys())),
        instructions=marks.instructions != listing.instructions and marks is not _UNREADABLE,
    )


def _file(identity: str, listing: Listing) -> _File:
    tools = {one.name: _Pin(digest(one), one) for one in listing.tools}
    return _File(
        version=_VERSION, identity=identity, instructions=listing.instructions, tools=tools
    )


def _marks_of(file: _File) -> _Marks:
    return _Marks(
        version=file.version,
        identity=file.identity,
        instructions=file.instructions,
        other_instructions=file.other_instructions,
        tools={name: _Mark(pin.hash) for name, pin in file.tools.items()},
    )


def sentence(display_name: str, server: str, waiting: Waiting) -> str:
    """Return what a person is told when tools of a server wait to be seen."""
    did = [*_counted("changed", waiting.changed), *_counted("added", waiting.new)]
    if waiting.instructions:
        did.append("changed its instructions")
    return (
        f"{display_name} {' and '.join(did)}. What nobody has seen is off. "
        f"Review it: patina mcp review {server}"
    )


def _counted(verb: str, names: Iterable[str]) -> list[str]:
    count = len(tuple(names))
    return [f"{verb} {count} {'tool' if count == 1 else 'tools'}"] if count else []

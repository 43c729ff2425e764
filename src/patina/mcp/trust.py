"""Consent to the start of local servers, kept in `<data>/trust.json`.

What is consented to is exactly this: the arguments, the folder, the names of the variables that
the configuration sets, and the binary that the command names. A change of any asks again
(MCP security best practices: local server compromise; CVE-2025-54136).

Servers come from the user's own configuration only: no file of a project or of the working folder
is read for them, so there is nothing of a project to be contacted.
"""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from patina.mcp import environment
from patina.mcp.diagnosis import program
from patina.mcp.files import replace
from patina.mcp.text import command_line, visible
from patina.model.faults import PermissionFault, StoreFault, UsageFault
from patina.model.settings import ServerSettings

_SHELLS: Final = frozenset(
    {"sh", "bash", "zsh", "dash", "ksh", "fish", "cmd", "powershell", "pwsh"}
)
_DANGEROUS: Final = {
    "sudo": "runs as another user",
    "doas": "runs as another user",
    "su": "runs as another user",
    "rm": "removes files",
    "dd": "overwrites files or disks",
    "chmod": "changes who may use files",
    "chown": "changes who owns files",
    "curl": "fetches from the network",
    "wget": "fetches from the network",
    "nc": "opens network connections",
    "ssh": "connects to another machine",
    "eval": "runs text as a program",
}
_STEERING: Final = frozenset(
    {
        "LD_PRELOAD",
        "LD_LIBRARY_PATH",
        "DYLD_INSERT_LIBRARIES",
        "NODE_OPTIONS",
        "PYTHONPATH",
        "PYTHONSTARTUP",
        "PATH",
    }
)
_PRIVATE: Final = (".ssh", ".aws", ".gnupg", ".kube", ".config/patina")


class StartPlan(Struct, frozen=True):
    """All that a person must see before a server's first start, hidden characters made visible.

    `command` is the whole command, never shortened; `binary` is "" where there is none.
    """

    server: str
    command: str
    argv: tuple[str, ...]
    cwd: str
    env_names: tuple[str, ...]
    binary: str
    trusted: bool
    warnings: tuple[str, ...] = ()


class _Consent(Struct, frozen=True):
    hash: str
    command: str = ""
    binary: str = ""


class _TrustFile(Struct, frozen=True):
    version: int = 1
    servers: dict[str, _Consent] = {}


class Trust:
    """Who may be started. `environ` is what commands are looked up with.

    The file is read again when it changed: another process may have been told. Every method
    raises `UsageFault` for a name that is not configured.
    """

    def __init__(
        self, servers: Mapping[str, ServerSettings], environ: Mapping[str, str], data: Path
    ) -> None:
        self._servers = servers
        self._environ = environ
        self._path = data / "trust.json"
        self._stamp = (-1, -1)
        self._kept = _TrustFile()

    def key(self, server: str) -> str:
        """Return the hash of what would be started, or of where a remote server is."""
        settings = self._settings(server)
        what: list[object] = ["remote", settings.transport, settings.url, sorted(settings.headers)]
        if settings.transport == "stdio":
            what = [
                "local",
                [settings.command, *settings.args],
                str(environment.folder(settings, self._environ)),
                sorted(settings.env),
                environment.binary(settings, self._environ) or "",
            ]
        return hashlib.sha256(msgspec.json.encode(what)).hexdigest()

    def is_trusted(self, server: str) -> bool:
        """Whether `server` may be started: it is remote, or was consented to as it is now."""
        if self._settings(server).transport != "stdio":
            return True
        kept = self._read().servers.get(server)
        return kept is not None and kept.hash == self.key(server)

    def trust(self, server: str) -> None:
        """Consent to the start of `server` as it is configured now. Raises `StoreFault`."""
        plan = self.describe(server)
        consent = _Consent(self.key(server), plan.command, plan.binary)
        self._write({**self._read().servers, server: consent})

    def forget(self, server: str) -> None:
        """Take the consent back. Raises `StoreFault`."""
        servers = dict(self._read().servers)
        if servers.pop(server, None) is not None:
            self._write(servers)

    def describe(self, server: str) -> StartPlan:
        """Return what a person must see before `server` is started for the first time."""
        settings = self._settings(server)
        words = (settings.command, *settings.args)
        binary = environment.binary(settings, self._environ) or ""
        return StartPlan(
            server=server,
            command=command_line(words),
            argv=tuple(visible(word) for word in words),
            cwd=visible(str(environment.folder(settings, self._environ))),
            env_names=tuple(visible(name) for name in sorted(settings.env)),
            binary=visible(binary),
            trusted=self.is_trusted(server),
            warnings=tuple(_warnings(settings, words, binary)),
        )

    def needed(self, server: str) -> PermissionFault:
        """Return the fault of a server that may not be started yet."""
        plan = self.describe(server)
        return PermissionFault(
            f"Server {server} is not yet allowed to start; it would run: {plan.command}",
            hint=f"`patina mcp trust {server}` allows it for good, "
            f"`--approve start:{server}` for this run.",
        )

    def _settings(self, server: str) -> ServerSettings:
        settings = self._servers.get(server)
        if settings is None:
            known = ", ".join(self._servers) or "none"
            raise UsageFault(
                f"There is no MCP server named {server}.", hint=f"Configured are: {known}."
            )
        return settings

    def _read(self) -> _TrustFile:
        try:
            status = self._path.stat()
            stamp = (status.st_mtime_ns, status.st_ino)
            if stamp != self._stamp:
                self._kept = msgspec.json.decode(self._path.read_bytes(), type=_TrustFile)
                self._stamp = stamp
        except FileNotFoundError:
            self._kept, self._stamp = _TrustFile(), (-1, -1)
        except (OSError, ValueError, RecursionError):
            # Unreadable consent is no consent: everything asks again.
            self._kept, self._stamp = _TrustFile(), (-1, -1)
        return self._kept

    def _write(self, servers: dict[str, _Consent]) -> None:
        try:
            replace(self._path, msgspec.json.encode(_TrustFile(servers=servers)))
        except OSError as error:
            raise StoreFault(
                f"The consent cannot be written to {self._path}: {error.strerror}.",
                hint="Check that the folder may be written to.",
            ) from None


def _warnings(settings: ServerSettings, words: tuple[str, ...], binary: str) -> list[str]:
    found = []
    if settings.command and not binary:
        found.append(f"There is no program {visible(settings.command)} to start.")
    if program(settings.command) in _SHELLS:
        found.append("It starts a shell, which can run anything.")
    # A shell's script is one word of ours and many of its own.
    parts = {program(part) for word in words for part in word.replace(";", " ").split()}
    found += [f"`{name}` {what}." for name, what in _DANGEROUS.items() if name in parts]
    if any(visible(word) != word for word in words):
        found.append("It holds hidden or unusual characters, shown as escapes.")
    if any(name in word for word in words for name in _PRIVATE):
        found.append("It names a folder that holds keys or private settings.")
    steering = sorted(_STEERING.intersection(name.upper() for name in settings.env))
    if steering:
        found.append(f"It sets {', '.join(steering)}, which changes what the program loads.")
    if binary and _writable_by_others(Path(binary)):
        found.append(f"Others on this machine may change {visible(binary)}.")
    return found


def _writable_by_others(path: Path) -> bool:
    try:
        return os.name == "posix" and bool(path.stat().st_mode & 0o002)
    except OSError:
        return False

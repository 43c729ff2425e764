"""What a local server is started with: its environment (A-01), its folder, its binary."""

import os
import sys
from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final

from patina.model.faults import McpFault
from patina.model.settings import ServerSettings
from patina.ports.keys import Keys

# Names that are never inherited, in any letter case: keys of providers all match one of these.
WITHHELD: Final = ("PATINA_*", "*KEY*", "*TOKEN*", "*SECRET*", "*PASSWORD*")
_LARGEST_KEY_FILE: Final = 64 * 1024


def inherited(environ: Mapping[str, str]) -> dict[str, str]:
    """Return what a server may see of `environ`: everything but what looks like a secret."""
    return {
        name: value
        for name, value in environ.items()
        if not any(fnmatchcase(name.upper(), pattern) for pattern in WITHHELD)
    }


def own(
    server: str, settings: ServerSettings, environ: Mapping[str, str], keys: Keys
) -> dict[str, str]:
    """Return the variables that the configuration gives a server, references resolved.

    Raises `McpFault` for one that cannot be resolved, and for a required one that is empty.
    Reads files and the keys: call it from a worker thread.
    """
    values = {
        name: resolved(server, name, value, environ, keys) for name, value in settings.env.items()
    }
    for name in settings.required:
        if not values.get(name):
            raise McpFault(
                f"Server {server} needs a value for {name}.",
                hint=f"Keep it with `patina keys set {server}/{name}`, and name it under `env` as "
                f'{name} = "secret:{server}/{name}".',
            )
    return values


def resolved(server: str, name: str, value: str, environ: Mapping[str, str], keys: Keys) -> str:
    """Return what `secret:NAME`, `env:NAME` or `keyfile:PATH` stands for, else `value` itself."""
    kind, colon, rest = value.partition(":")
    if not colon or kind not in ("secret", "env", "keyfile"):
        return value
    if kind == "secret":
        secret = keys.get(rest)
        if secret is None:
            raise McpFault(
                f"Server {server}: there is no secret {rest} for {name}.",
                hint=f"Keep it with `patina keys set {rest}`.",
            )
        return secret
    if kind == "env":
        if rest not in environ:
            raise McpFault(
                f"Server {server}: the environment has no {rest} for {name}.",
                hint=f"Set {rest} before you start Patina.",
            )
        return environ[rest]
    return _key_file(server, name, expanded(rest, environ))


def _key_file(server: str, name: str, path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST_KEY_FILE + 1)
        if len(content) > _LARGEST_KEY_FILE:
            raise ValueError("it is too large for a key")
        return content.decode().strip()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise McpFault(
            f"Server {server}: the key file {path} for {name} cannot be read: {reason}.",
            hint="Check the path after `keyfile:` in the server's settings.",
        ) from None


def expanded(path: str, environ: Mapping[str, str]) -> Path:
    """Return `path` with a leading `~` replaced by the home of `environ`."""
    if path == "~" or path.startswith(("~/", "~\\")):
        return home(environ) / path[2:]
    return Path(path)


def home(environ: Mapping[str, str]) -> Path:
    """Return the user's home folder."""
    name = "USERPROFILE" if sys.platform == "win32" else "HOME"
    return Path(environ[name]) if environ.get(name) else Path.home()


def folder(settings: ServerSettings, environ: Mapping[str, str]) -> Path:
    """Return where a server runs.

    Without `cwd` that is the home folder: the same wherever Patina is started, and never a
    folder whose content could change what `npx` and the like run.
    """
    return expanded(settings.cwd, environ) if settings.cwd else home(environ)


def search_path(settings: ServerSettings, environ: Mapping[str, str]) -> str:
    """Return the PATH by which a server's command is looked up: its own, else the parent's."""
    own_path = settings.env.get("PATH", "")
    if own_path.startswith("env:"):
        own_path = environ.get(own_path[4:], "")
    return own_path or environ.get("PATH", os.defpath)


def binary(settings: ServerSettings, environ: Mapping[str, str]) -> str | None:
    """Return the absolute path of the program that a server's command names, None if none."""
    command = settings.command
    if not command:
        return None
    where = folder(settings, environ)
    if "/" in command or "\\" in command:
        path = where / expanded(command, environ)
        return str(path) if _is_program(path) else _windows_which(str(path), "")
    search = search_path(settings, environ)
    for entry in search.split(os.pathsep):
        # Relative entries would make the binary depend on where Patina is started.
        if entry and Path(entry).is_absolute() and _is_program(path := Path(entry) / command):
            return str(path)
    return _windows_which(command, search)


def _is_program(path: Path) -> bool:
    # On Windows a name without its extension is no program; `shutil.which` knows the extensions.
    return sys.platform != "win32" and path.is_file() and os.access(path, os.X_OK)


def _windows_which(command: str, search: str) -> str | None:
    if sys.platform == "win32":
        import shutil

        return shutil.which(command, path=search or None)
    return None

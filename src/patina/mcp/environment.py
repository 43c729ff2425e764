"""What a local server is started with: its environment (A-01), its folder, its binary."""

import os
import sys
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final

from patina.mcp import login_path
from patina.model.faults import ConfigFault, McpFault
from patina.model.settings import ServerSettings
from patina.ports.keys import References

# Names that are never inherited, in any letter case: keys of providers all match one of these.
# Wider than `config.keys.names_secret`, and on purpose: that one says "this is a secret", masks and
# moves values by it, and must not take `KEYBOARD` or `MAX_TOKENS` for one; this one says "this may
# be a secret", and a variable that is kept back in error can be given by name under `env`.
WITHHELD: Final = ("PATINA_*", "*KEY*", "*TOKEN*", "*SECRET*", "*PASSWORD*")


def inherited(environ: Mapping[str, str]) -> dict[str, str]:
    """Return what a server may see of `environ`: everything but what looks like a secret."""
    return {name: value for name, value in environ.items() if not may_be_secret(name)}


def given(settings: ServerSettings, environ: Mapping[str, str]) -> dict[str, str]:
    """Return what a server sees of `environ`, with the PATH on which its command was found.

    May ask the login shell, see `search_path`: call it from a worker thread.
    """
    seen, search = inherited(environ), search_path(settings, environ)
    if search != environ.get("PATH", os.defpath):
        seen["PATH"] = search
    return seen


def may_be_secret(name: str) -> bool:
    """Whether a variable or field of this name is kept back: see `WITHHELD`."""
    return any(fnmatchcase(name.upper(), pattern) for pattern in WITHHELD)


def own(server: str, settings: ServerSettings, keys: References) -> dict[str, str]:
    """Return the variables that the configuration gives a server, references resolved.

    Where `required` names some, the others are optional (A-09): what has no value is left out.
    Raises `McpFault` for one that cannot be resolved, and for a required one that is empty.
    Reads files and the keys: call it from a worker thread.
    """
    values = {
        name: _resolved(server, name, value, keys)
        for name, value in settings.env.items()
        if not settings.required or name in settings.required or _has_value(value, keys)
    }
    for name in settings.required:
        if not values.get(name):
            raise McpFault(
                f"Server {server} needs a value for {name}.",
                hint=f"Keep it with `patina keys set {server}/{name}`, and name it under `env` as "
                f'{name} = "secret:{server}/{name}".',
            )
    return values


def _has_value(value: str, keys: References) -> bool:
    """Whether there is something in place of a `secret:` or `env:`; other text is there."""
    if not value.startswith(("secret:", "env:")):
        return True
    try:
        return keys.resolve(value) is not None
    except ConfigFault:
        return True  # whoever resolves it says what is wrong


def headers(server: str, settings: ServerSettings, keys: References) -> dict[str, str]:
    """Return the headers that the configuration gives a remote server, references resolved.

    A word may stand before a reference, as in `Bearer secret:NAME`. Raises `McpFault` for one
    that cannot be resolved. Reads files and the keys: call it from a worker thread.
    """
    found = {}
    for name, value in settings.headers.items():
        scheme, space, reference = value.partition(" ")
        if not space:
            scheme, reference = "", value
        found[name] = scheme + space + _resolved(server, f"the header {name}", reference, keys)
    return found


def _resolved(server: str, name: str, value: str, keys: References) -> str:
    """Return what the variable `name` is to hold; only a reference is looked up."""
    kind, colon, rest = value.partition(":")
    if not colon or kind not in ("secret", "env", "keyfile"):
        return value
    try:
        found = keys.resolve(value)
    except ConfigFault as fault:
        failure = fault.failure
        raise McpFault(
            f"Server {server} cannot be given {name}. {failure.message}",
            hint=failure.hint,
            code=failure.code,
        ) from None
    if found is not None:
        return found
    if kind == "secret":
        raise McpFault(
            f"Server {server}: there is no secret {rest} for {name}.",
            hint=f"Keep it with `patina keys set {rest}`.",
        )
    if kind == "env":
        raise McpFault(
            f"Server {server}: the environment has no {rest} for {name}.",
            hint=f"Set {rest} before you start Patina, or write it into its .env file.",
        )
    raise McpFault(
        f"Server {server}: the key file {rest} for {name} is empty.",
        hint="Write the key into it.",
    )


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
    """Return the PATH by which a server's command is looked up, and that the server is given.

    Its own, else the parent's; where that lacks the command, the one of the user's login shell
    before it. On an event loop the shell is not asked: `look_up` does that.
    """
    own_path = settings.env.get("PATH", "")
    if own_path.startswith("env:"):
        own_path = environ.get(own_path[4:], "")
    search = own_path or environ.get("PATH", os.defpath)
    if own_path or not _is_missing(settings.command, search):
        return search
    seen = inherited(environ)
    login = ""
    if login_path.is_known(seen) or not _on_event_loop():
        login = login_path.answer(seen)
    return login_path.joined(login, search, str(home(environ)))


async def look_up(servers: Iterable[ServerSettings], environ: Mapping[str, str]) -> None:
    """Ask the login shell, in a worker thread, if a command of `servers` is on no folder of PATH.

    Await it before `search_path`, `binary` and what builds upon them (trust, too) are used on an
    event loop. Bounded by `login_path.TOTAL`; asks once in the life of this process.
    """
    search = environ.get("PATH", os.defpath)
    if not any(
        server.transport == "stdio"
        and not server.env.get("PATH")
        and _is_missing(server.command, search)
        for server in servers
    ):
        return
    seen = inherited(environ)
    if login_path.is_known(seen):
        return
    import anyio.to_thread

    await anyio.to_thread.run_sync(login_path.answer, seen, abandon_on_cancel=True)


def _is_missing(command: str, search: str) -> bool:
    """Whether the login shell may know where `command` is; Windows has none."""
    is_name = bool(command) and "/" not in command and "\\" not in command
    return sys.platform != "win32" and is_name and _found(command, search) is None


def _on_event_loop() -> bool:
    from asyncio import get_running_loop

    try:
        get_running_loop()
    except RuntimeError:
        return False
    return True


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
    return _found(command, search) or _windows_which(command, search)


def _found(command: str, search: str) -> str | None:
    for entry in search.split(os.pathsep):
        # Relative entries would make the binary depend on where Patina is started.
        if entry and Path(entry).is_absolute() and _is_program(path := Path(entry) / command):
            return str(path)
    return None


def _is_program(path: Path) -> bool:
    # On Windows a name without its extension is no program; `shutil.which` knows the extensions.
    return sys.platform != "win32" and path.is_file() and os.access(path, os.X_OK)


def _windows_which(command: str, search: str) -> str | None:
    if sys.platform == "win32":
        import shutil

        return shutil.which(command, path=search or None)
    return None

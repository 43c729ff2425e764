"""What a local server is started from: its program, folder, variables, and the runtime below it."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import anyio
import anyio.to_thread
from anyio.abc import ByteReceiveStream
from msgspec import Struct

from patina.mcp import environment, login_path
from patina.mcp.diagnosis import program
from patina.mcp.text import shortened, visible
from patina.mcp.transports import process as processes
from patina.model.settings import ServerSettings

VERSION_WAIT: Final = 5.0
_MOST_BYTES: Final = 2000
# What says the version of what really runs, by the program that a command names.
_RUNTIMES: Final = {
    "npx": ("node", "npx"),
    "npm": ("node", "npm"),
    "pnpm": ("node", "pnpm"),
    "yarn": ("node", "yarn"),
    "node": ("node",),
    "bunx": ("bun",),
    "bun": ("bun",),
    "deno": ("deno",),
    "uvx": ("uv",),
    "uv": ("uv",),
    "pipx": ("pipx", "python3"),
    "docker": ("docker",),
    "podman": ("podman",),
    "dnx": ("dotnet",),
    "dotnet": ("dotnet",),
}


class Runtime(Struct, frozen=True):
    """A program that a server needs; `path` is "" where it is not there, `version` what it says."""

    program: str
    path: str
    version: str = ""


class Ground(Struct, frozen=True, kw_only=True):
    """All names and paths are made harmless. Of variables only names are told, never values.

    `binary` is the program that is found, "" if none, `real_path` where its links lead.
    `path_source` says where the `search_path` is from: "settings", "environment", "login shell"
    or "usual folders". `withheld` are variables that look like secrets and are not passed on.
    """

    argv: tuple[str, ...]
    binary: str
    real_path: str
    search_path: tuple[str, ...]
    path_source: str
    folder: str
    folder_exists: bool
    own: tuple[str, ...]
    inherited: tuple[str, ...]
    withheld: tuple[str, ...]
    runtimes: tuple[Runtime, ...] = ()


async def ground(settings: ServerSettings, environ: Mapping[str, str], *, run: bool) -> Ground:
    """Return what a local server would be started from; nothing of it is started.

    `run` asks the runtimes for their versions, which starts those: at most `VERSION_WAIT`
    seconds, all at once.
    """
    found = await anyio.to_thread.run_sync(_ground, settings, environ)
    names = _RUNTIMES.get(program(settings.command), ())
    if not names and program(settings.command).startswith("python"):
        names = (settings.command,)
    runtimes: dict[str, Runtime] = {}
    async with anyio.create_task_group() as tasks:
        for name in names:
            tasks.start_soon(_runtime, name, settings, environ, run, runtimes)
    told = {field: getattr(found, field) for field in found.__struct_fields__}
    return Ground(**told | {"runtimes": tuple(runtimes[name] for name in names)})


def _ground(settings: ServerSettings, environ: Mapping[str, str]) -> Ground:
    binary = environment.binary(settings, environ) or ""
    folder = environment.folder(settings, environ)
    search = environment.search_path(settings, environ)
    own = set(settings.env)
    return Ground(
        argv=tuple(visible(word) for word in (binary or settings.command, *settings.args)),
        binary=visible(binary),
        real_path=visible(os.path.realpath(binary)) if binary else "",
        search_path=tuple(visible(part) for part in search.split(os.pathsep) if part),
        path_source=_source(settings, environ, search),
        folder=visible(str(folder)),
        folder_exists=folder.is_dir(),
        own=_names(own),
        inherited=_names(set(environment.inherited(environ)) - own),
        withheld=_names(set(withheld(environ)) - own),
    )


def withheld(environ: Mapping[str, str]) -> tuple[str, ...]:
    """Return the names of the variables that no server inherits."""
    return tuple(sorted(name for name in environ if environment.may_be_secret(name)))


def _source(settings: ServerSettings, environ: Mapping[str, str], search: str) -> str:
    if settings.env.get("PATH"):
        return "settings"
    if search == environ.get("PATH", os.defpath):
        return "environment"
    return "login shell" if login_path.answer(environment.inherited(environ)) else "usual folders"


def _names(names: set[str]) -> tuple[str, ...]:
    return tuple(visible(name) for name in sorted(names))


async def _runtime(
    name: str,
    settings: ServerSettings,
    environ: Mapping[str, str],
    run: bool,  # noqa: FBT001 - task groups pass positions only
    found: dict[str, Runtime],
) -> None:
    named = ServerSettings(command=name, cwd=settings.cwd, env=settings.env)
    path = await anyio.to_thread.run_sync(environment.binary, named, environ)
    given = await anyio.to_thread.run_sync(environment.given, named, environ)
    shown = visible(program(name))
    found[name] = Runtime(shown, visible(path or ""))
    if path is not None and run:
        version = await _version(path, given)
        found[name] = Runtime(shown, visible(path), version)


async def _version(path: str, environ: Mapping[str, str]) -> str:
    """Return the first line that `path --version` prints, or why there is none."""
    try:
        process = await processes.spawn((path, "--version"), environ, Path(path).parent)
    except (OSError, ValueError) as error:
        return f"does not start: {visible(str(error))}"
    said: list[bytes] = []
    try:
        with anyio.move_on_after(VERSION_WAIT) as scope:
            async with anyio.create_task_group() as tasks:
                for stream in (process.stdout, process.stderr):
                    assert stream is not None
                    tasks.start_soon(_read, stream, said)
    finally:
        await processes.stop(process)
    if scope.cancelled_caught:
        return f"does not say its version within {VERSION_WAIT:g} s"
    lines = b"".join(said).decode("utf-8", "replace").strip().splitlines()
    return shortened(visible(lines[0].strip()), 100) if lines else "says no version"


async def _read(stream: ByteReceiveStream, said: list[bytes]) -> None:
    try:
        while sum(map(len, said)) < _MOST_BYTES:
            said.append(await stream.receive())
    except (anyio.EndOfStream, anyio.ClosedResourceError, anyio.BrokenResourceError, OSError):
        return

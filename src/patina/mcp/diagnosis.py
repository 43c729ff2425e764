"""Why a server did not start, in one sentence and a hint."""

import errno
from pathlib import Path
from typing import Final

from patina.mcp.text import command_line, shortened, visible
from patina.model.faults import McpFault
from patina.model.settings import ServerSettings

# Codes of the faults of a server that could not even be started; `causes.diagnose` keeps them.
NO_PROGRAM: Final = "no_program"
NO_FOLDER: Final = "no_folder"
NO_INTERPRETER: Final = "no_interpreter"
DENIED: Final = "denied"
NOT_A_PROGRAM: Final = "not_a_program"
NOT_STARTED: Final = "not_started"
BEFORE_THE_START: Final = frozenset(
    {NO_PROGRAM, NO_FOLDER, NO_INTERPRETER, DENIED, NOT_A_PROGRAM, NOT_STARTED}
)

_INSTALL: Final = {
    "npx": "Install Node.js, which brings npx",
    "npm": "Install Node.js, which brings npm",
    "node": "Install Node.js",
    "pnpm": "Install pnpm",
    "bunx": "Install Bun, which brings bunx",
    "bun": "Install Bun",
    "deno": "Install Deno",
    "uvx": "Install uv, which brings uvx",
    "uv": "Install uv",
    "pipx": "Install pipx",
    "docker": "Install Docker",
    "podman": "Install Podman",
    "dnx": "Install the .NET SDK, which brings dnx",
}
_RUNNERS: Final = frozenset({"npx", "uvx", "bunx", "dnx", "docker", "podman", "pipx"})
_FETCHING_WORDS: Final = {"pnpm": "dlx", "yarn": "dlx", "npm": "exec", "uv": "tool", "bun": "x"}


def program(command: str) -> str:
    """Return the bare name of a command: `npx` for `/usr/bin/npx` and `npx.cmd`."""
    name = command.replace("\\", "/").rpartition("/")[2].lower()
    return name.removesuffix(".exe").removesuffix(".cmd").removesuffix(".bat")


def may_install(settings: ServerSettings) -> bool:
    """Whether the command fetches a package before it runs it, and so may take minutes."""
    name = program(settings.command)
    return name in _RUNNERS or (name in _FETCHING_WORDS and _FETCHING_WORDS[name] in settings.args)


def install_hint(command: str) -> str:
    """Return how to get the program that `command` names, as the beginning of a sentence."""
    return _INSTALL.get(program(command), f"Install {command}")


def no_program(server: str, settings: ServerSettings, search: str) -> McpFault:
    """Return the fault of a command that is not there."""
    command = visible(settings.command)
    if not command:
        return McpFault(
            f"Server {server} has no command to start.",
            hint=f"Set one: `patina mcp edit {server}`.",
            code=NO_PROGRAM,
        )
    tried = command_line((settings.command, *settings.args))
    if "/" in command or "\\" in command:
        if Path(settings.command).is_absolute() and Path(settings.command).is_file():
            return McpFault(
                f"Server {server} did not start: there is no program at {command}, "
                f"but a file that may not be executed (tried: {tried}).",
                hint="Make it executable (`chmod +x`), or name its interpreter as the command.",
                code=DENIED,
            )
        return McpFault(
            f"Server {server} did not start: there is no program at {command} (tried: {tried}).",
            hint="Check the path, and that the file may be executed.",
            code=NO_PROGRAM,
        )
    install = install_hint(command)
    return McpFault(
        f"Server {server} did not start: no program {command} in any folder of the PATH "
        f"(tried: {tried}).",
        hint=f"{install}, or give its full path as the command. "
        f"Looked in: {shortened(visible(search), 300) or 'an empty PATH'}.",
        code=NO_PROGRAM,
    )


def not_started(server: str, argv: tuple[str, ...], cwd: str, error: Exception) -> McpFault:
    """Return the fault of a process that the system would not start."""
    number = error.errno if isinstance(error, OSError) else None
    reason, hint = str(error), "Check the command in the server's settings."
    code = NOT_STARTED
    if isinstance(error, OSError):
        reason = (error.strerror or str(error)).lower()
        if number in (errno.ENOENT, errno.ENOTDIR) and str(error.filename) == cwd:
            reason, hint = f"there is no folder {visible(cwd)}", "Check `cwd` in its settings."
            code = NO_FOLDER
        elif number == errno.ENOENT:
            reason, hint = (
                "the program, or the interpreter in its first line, is not there",
                "Check the path, and the first line of a script.",
            )
            code = NO_INTERPRETER
        elif number == errno.EACCES:
            hint, code = "Make the file executable, and the folder readable.", DENIED
        elif number == errno.ENOEXEC:
            hint = "It is no program for this machine, or a script without a first line `#!`."
            code = NOT_A_PROGRAM
    return McpFault(
        f"Server {server} did not start: {reason} (tried: {command_line(argv)}).",
        hint=hint,
        code=code,
    )


def log_hint(server: str) -> str:
    """Return where to read on."""
    return f"`patina mcp logs {server}` shows all it said."

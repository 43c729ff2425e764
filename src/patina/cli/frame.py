"""Runs one command: loads its module, gives it the common options, and answers for its end."""

import re
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from patina.cli.context import Context, context
from patina.cli.errors import show_error
from patina.cli.main import COMMANDS, GLOBAL_OPTIONS, top_help

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

HELP_NAMES = ["-h", "--help"]
_EXAMPLES = re.compile(r"\n\n( *)(?:\\b\n *)?(Examples?:\n)")


class Commands(click.Group):
    """All commands; the module of one is imported when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of the help."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command, with the options of every command added."""
        if cmd_name not in COMMANDS:
            return None
        module, attribute, *_ = COMMANDS[cmd_name]
        command = getattr(import_module(module), attribute)
        assert isinstance(command, click.Command)
        return adopt(command)

    def get_help(self, ctx: click.Context) -> str:
        """Return the help of the program."""
        return top_help().rstrip("\n")

    def shell_complete(self, ctx: click.Context, incomplete: str) -> "list[CompletionItem]":
        """Complete names from the table, so that no module is loaded."""
        from click.shell_completion import CompletionItem

        return [
            CompletionItem(name, help=row[2])
            for name, row in COMMANDS.items()
            if name.startswith(incomplete)
        ]


def adopt(command: click.Command) -> click.Command:
    """Add the options of every command to `command` and the verbs below it, once.

    In their help, what follows "Example:" or "Examples:" keeps its lines.
    """
    command.help = _EXAMPLES.sub("\n\n\\1\b\n\\1\\2", command.help or "")
    command.context_settings.setdefault("help_option_names", HELP_NAMES)
    taken = {name for parameter in command.params for name in parameter.opts}
    command.params += [option for option in _OPTIONS if option.opts[0] not in taken]
    if isinstance(command, click.Group):
        for inner in command.commands.values():
            adopt(inner)
    return command


def run_command(arguments: list[str]) -> int:
    """Run the command that `arguments` begins with and return the exit code.

    A command returns its exit code, or None for success.
    """
    run = Context()
    words = arguments[: arguments.index("--")] if "--" in arguments else arguments
    as_json = "--json" in words
    for stream in (sys.stdout, sys.stderr):
        _tolerate(stream)
    try:
        code = PROGRAM.main(arguments, prog_name="patina", standalone_mode=False, obj=run)
        if sys.stdout is not None:
            sys.stdout.flush()
    except SystemExit as end:
        return _code(end.code)
    except BaseException as error:  # noqa: BLE001 - the named boundary: nobody above could say it
        return show_error(error, run, as_json=as_json)
    return _code(code)


def _code(value: object) -> int:
    return value if isinstance(value, int) else 0


def _tolerate(stream: Any) -> None:  # noqa: ANN401 - whatever stands for a stream
    """Never fail for a character that the stream's encoding lacks."""
    if hasattr(stream, "reconfigure"):
        # A pipe on Windows has an old code page; what reads it expects UTF-8.
        encoding = None if stream.isatty() else "utf-8"
        stream.reconfigure(encoding=encoding, errors="replace")


def _set_offline(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if value:
        context(ctx).offline = True


def _set_debug_mcp(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if value:
        context(ctx).debug_mcp = True


def _set_log_level(ctx: click.Context, _: click.Parameter, value: str | None) -> None:
    if value is not None:
        context(ctx).log_level = value


def _set_env_file(ctx: click.Context, _: click.Parameter, value: Path | None) -> None:
    if value is not None:
        context(ctx).env_file = value


_TEXTS = {flag: text for flag, _, text in GLOBAL_OPTIONS}
_OPTIONS = (
    click.Option(
        ["--offline"],
        is_flag=True,
        expose_value=False,
        callback=_set_offline,
        help=_TEXTS["--offline"],
    ),
    click.Option(
        ["--debug-mcp"],
        is_flag=True,
        expose_value=False,
        callback=_set_debug_mcp,
        help=_TEXTS["--debug-mcp"],
    ),
    click.Option(
        ["--log-level"],
        type=click.Choice(["debug", "info", "warning", "error"]),
        metavar="LEVEL",
        expose_value=False,
        callback=_set_log_level,
        help=_TEXTS["--log-level"],
    ),
    click.Option(
        ["--env-file"],
        type=click.Path(dir_okay=False, path_type=Path),
        metavar="FILE",
        expose_value=False,
        callback=_set_env_file,
        help=_TEXTS["--env-file"],
    ),
)

PROGRAM = Commands("patina", context_settings={"help_option_names": HELP_NAMES})

"""How a command fails: one sentence and a hint on stderr, or an object on stdout, and a code."""

import os
import sys
from collections.abc import Sequence

import click

from patina.cli.context import Context
from patina.model.faults import (
    EXIT_ERROR,
    EXIT_INTERRUPTED,
    EXIT_USAGE,
    Failure,
    Fault,
    exit_code,
)
from patina.views.terminal_text import safe_text


def show_failure(failure: Failure, run: Context, *, as_json: bool = False) -> int:
    """Print `failure` and return its exit code. Secrets in it are masked."""
    message, hint = run.redactor(failure.message), run.redactor(failure.hint)
    if as_json:
        from patina.cli.output import print_json

        try:
            print_json({"error": {"kind": failure.kind, "message": message, "hint": hint}})
        except OSError:
            _discard_stdout()
            as_json = False
    if not as_json:
        _say(f"patina: {message}\n{hint}" if hint else f"patina: {message}")
    return exit_code(failure.kind)


def show_error(error: BaseException, run: Context, *, as_json: bool = False) -> int:
    """Print what ended a command, whatever it is, and return the exit code.

    This is the one place in which a person meets an exception. A traceback goes to the log only.
    """
    error = _first(error)
    if isinstance(error, Fault):
        return show_failure(error.failure, run, as_json=as_json)
    if isinstance(error, click.Abort | KeyboardInterrupt):
        return EXIT_INTERRUPTED
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        _say(error.format_message())
        return EXIT_USAGE
    if isinstance(error, click.ClickException):
        show_failure(_usage_failure(error), run, as_json=as_json)
        return EXIT_USAGE
    if isinstance(error, BrokenPipeError):
        # Whoever read the output has left. The interpreter must not find out again at its end.
        _discard_stdout()
        return EXIT_ERROR
    code = show_failure(_defect(error, run), run, as_json=as_json)
    if isinstance(error, OSError):
        try:
            sys.stdout.flush()
        except OSError:
            _discard_stdout()  # it is the output that cannot be written; see above
    return code


def _first(error: BaseException) -> BaseException:
    """Return the exception of a group that says most: a fault if there is one."""
    if not isinstance(error, BaseExceptionGroup):
        return error
    inner = [_first(part) for part in error.exceptions]
    ranks: Sequence[type[BaseException]] = (Fault, KeyboardInterrupt, Exception)
    for kind in ranks:
        for part in inner:
            if isinstance(part, kind):
                return part
    return inner[0]


def _usage_failure(error: click.ClickException) -> Failure:
    message = error.format_message()
    hint = ""
    if isinstance(error, click.NoSuchOption):
        message = f"There is no option {error.option_name}."
        from difflib import get_close_matches

        close = get_close_matches(error.option_name, error.possibilities or (), 1)
        hint = f"Did you mean {close[0]}? " if close else ""
    click_context = error.ctx if isinstance(error, click.UsageError) else None
    if click_context is not None:
        hint += f"`{click_context.command_path} --help` explains it."
    return Failure("usage", message, hint)


def _defect(error: BaseException, run: Context) -> Failure:
    """Log an exception that nobody expected, and return what to say of it."""
    import logging

    try:
        run.start_log()
        logging.getLogger("patina.cli").error("Unexpected error", exc_info=error)
        logged = run.paths.log_file.exists()
    except (Fault, OSError):
        logged = False
    place = f"The details are in {run.paths.log_file}." if logged else "No log could be written."
    name = type(error).__name__
    if isinstance(error, OSError) and error.strerror:
        return Failure("internal", f"The system said: {error.strerror} ({name}).", place)
    return Failure("internal", f"Something went wrong inside Patina ({name}).", place)


def _say(text: str) -> None:
    try:
        print(safe_text(text), file=sys.stderr, flush=True)
    except OSError:
        return  # nobody can be told


def _discard_stdout() -> None:
    try:
        descriptor = os.open(os.devnull, os.O_WRONLY)
        os.dup2(descriptor, sys.stdout.fileno())
        os.close(descriptor)
    except (OSError, ValueError, AttributeError):
        return

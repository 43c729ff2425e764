"""Prompts of servers: what they are given, and what comes of them."""

import shlex
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import anyio
from msgspec import Struct
from msgspec.structs import replace

from patina.assembly.app import App
from patina.cli.consent import need_start
from patina.cli.prompt import Said
from patina.cli.signals import Signals
from patina.cli.terminal_dialog import NOTHING_GIVEN, Given, attended
from patina.cli.tty import Person
from patina.model.faults import Fault, UsageFault
from patina.model.parts import File, Image, Part, Spoken, Text, well_formed
from patina.ports.features import PromptArgument, PromptInfo
from patina.views.terminal_text import safe_line, safe_text

if TYPE_CHECKING:
    from patina.cli.terminal_dialog import TerminalDialog

HINT_SECONDS: Final = 2.0
HINTS: Final = 8
# What a user says where a prompt ends in words of the model: every message needs some.
GO_ON: Final = Text("Continue.")


class Slash(Struct, frozen=True):
    """`/server:prompt key=value …` as it was typed: what follows the name in the first word of the
    command line is still one text, `rest`, and `more` are further words.
    """

    server: str
    prompt: str
    rest: str
    more: tuple[str, ...]


def slash_of(words: Sequence[str]) -> Slash | None:
    """Return what `/server:prompt key=value` means, None for any other text.

    `words` are those of a command line.
    """
    if not words or not words[0].startswith("/"):
        return None
    name, _, rest = words[0][1:].partition(" ")
    server, colon, prompt = name.partition(":")
    if not colon or not server or not prompt:
        return None
    return Slash(server, prompt, rest, tuple(words[1:]))


def _values(slash: Slash) -> tuple[str, ...]:
    """Return the words after the name, those in quotation marks together. Raises `UsageFault`."""
    try:
        return (*shlex.split(slash.rest), *slash.more)
    except ValueError:
        raise UsageFault(
            "A quotation mark has no partner.", hint='Such as name="two words".'
        ) from None


def pairs(values: Sequence[str]) -> dict[str, str]:
    """Return KEY=VALUE pairs. A word without a key goes on with the value before it.

    Raises `UsageFault`.
    """
    found: dict[str, str] = {}
    last = ""
    for word in values:
        key, equals, value = word.partition("=")
        if equals and key and " " not in key:
            last, found[key] = key, well_formed(value)
        elif last:
            found[last] += f" {well_formed(word)}"
        else:
            raise UsageFault(f"{word} is not KEY=VALUE.", hint='Such as city=Zurich or key="a b".')
    return found


def takes(info: PromptInfo) -> str:
    """Return what a prompt takes, such as `city [state]`."""
    return " ".join(one.name if one.required else f"[{one.name}]" for one in info.arguments)


async def find_prompt(app: App, server: str, name: str) -> PromptInfo | None:
    """Return the prompt, asking the server anew where the cache does not have it."""
    for refresh in (False, True):
        for info in await app.features.prompts((server,), refresh=refresh):
            if info.name == name:
                return info
    return None


async def run_prompt(
    app: App,
    server: str,
    name: str,
    values: Sequence[str],
    *,
    given: Given = NOTHING_GIVEN,
    signals: Signals | None = None,
) -> tuple[Spoken, ...]:
    """Run a prompt, and return what it says. Required arguments that are missing are asked for.

    Raises `UsageFault` for a prompt that is not there, for values it does not take, and for missing
    ones where nobody can be asked; and the `Fault`s of the server.
    """
    await need_start(app, server)
    info = await find_prompt(app, server, name)
    if info is None:
        raise UsageFault(
            f"{server} offers no prompt {name}.", hint=f"`patina mcp prompts {server}` lists them."
        )
    arguments = await _arguments(app, info, pairs(values))

    async def work(dialog: "TerminalDialog") -> tuple[Spoken, ...]:
        return await app.features.prompt(server, name, arguments, dialog)

    return await attended(app, server, f"{server}:{name}", work, given=given, signals=signals)


async def run_slash(
    app: App, words: Sequence[str], signals: Signals | None = None, *, must: bool
) -> Said | None:
    """Run the prompt that was typed, and return what to send. Raises as `run_prompt`.

    None where the words are no `/server:prompt` of a server that is there; with `must` that is a
    `UsageFault`.
    """
    slash = slash_of(words)
    if slash is None:
        if must:
            raise UsageFault(f"{words[0]} is no prompt of a server.", hint="/help lists commands.")
        return None
    settings = app.supervisor.servers.get(slash.server)
    if not must:
        if settings is None or not settings.enabled:
            return None
        await need_start(app, slash.server)
        if await find_prompt(app, slash.server, slash.prompt) is None:
            return None
    said = await run_prompt(app, slash.server, slash.prompt, _values(slash), signals=signals)
    return replace(as_message(said), sources=(slash.server,))


def as_message(messages: Sequence[Spoken]) -> Said:
    """Return the last words of the user as the message, and what stands before them.

    Where the model has the last word, the user tells it to go on.
    """
    end = len(messages)
    while end and messages[end - 1].role == "user":
        end -= 1
    parts = tuple(part for spoken in messages[end:] for part in spoken.parts)
    return Said(tuple(messages[:end]), parts or (GO_ON,))


async def _arguments(app: App, info: PromptInfo, given: dict[str, str]) -> dict[str, str]:
    known = [argument.name for argument in info.arguments]
    for key in given:
        if key not in known:
            raise UsageFault(
                f"The prompt {info.name} takes no {key}.",
                hint=f"It takes {', '.join(known)}." if known else "It takes nothing.",
            )
    missing = [one for one in info.arguments if one.required and not given.get(one.name)]
    person = Person() if missing else None
    if person is not None and not person.present:
        names = ", ".join(one.name for one in missing)
        more = " ".join(f"{one.name}=…" for one in missing)
        raise UsageFault(f"The prompt {info.name} needs {names}.", hint=f"Add {more}")
    for argument in missing:
        assert person is not None
        given[argument.name] = await _asked(app, info, argument, given, person)
    return given


async def _asked(
    app: App, info: PromptInfo, argument: PromptArgument, given: dict[str, str], person: Person
) -> str:
    """Return what a person types for an argument, shown what the server would complete it to."""
    fitting: tuple[str, ...] = ()
    with anyio.move_on_after(HINT_SECONDS), suppress(Fault):
        found = await app.features.complete(
            info.server, argument=argument.name, value="", prompt=info.name, known=given
        )
        fitting = found.values
    about = f"  {safe_line(argument.description)}\n" if argument.description else ""
    if fitting:
        more = ", …" if len(fitting) > HINTS else ""
        about += f"  such as {', '.join(map(safe_line, fitting[:HINTS]))}{more}\n"
    sys.stderr.write(f"{about}")
    while True:
        line = ""
        try:
            line = await person.ask(f"{safe_line(argument.name)}: ", fresh=False)
        finally:
            if not line:  # Ctrl+C or Ctrl+D left the cursor behind the question
                sys.stderr.write("\n")
        if not line:
            raise UsageFault(f"The prompt {info.name} was not run: it needs {argument.name}.")
        if line.strip():
            return well_formed(line.strip())


def print_messages(messages: Sequence[Spoken]) -> None:
    """Print what a prompt says: as it is into a pipe, harmless on a terminal."""
    terminal = sys.stdout.isatty()
    for spoken in messages:
        words = "\n".join(_words(part) for part in spoken.parts)
        text = f"{spoken.role}: {words}"
        print(safe_text(text) if terminal else text)


def _words(part: Part) -> str:
    if isinstance(part, Text):
        return part.text
    return f"[{part.name or part.media_type}]" if isinstance(part, Image | File) else ""

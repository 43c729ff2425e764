"""What the flags of `ask`, or a line of the chat, say; and the message that comes of it."""

from pathlib import Path

from msgspec import Struct

from patina.assembly.app import App
from patina.cli.attachments import attach
from patina.cli.signals import Signals
from patina.model.options import TurnOptions
from patina.model.parts import Part, Spoken, Text


class Prompt(Struct, frozen=True, kw_only=True):
    """What the flags of `ask` say. `session`, `fork` are ids or unique prefixes. `parent` and
    `tools` are as in the command `message.send`.

    `slash` are the words that were typed, where the first begins with a slash: the prompt of a
    server perhaps, which then takes the place of `text`, after what was `piped`; without `text`
    it must be one. `resources` are servers and addresses to read, `attached` is what was read,
    `sources` the servers that it was read from.
    """

    text: str
    slash: tuple[str, ...] = ()
    piped: str = ""
    parent: str | None = None
    files: tuple[Path, ...] = ()
    resources: tuple[tuple[str, str], ...] = ()
    attached: tuple[Part, ...] = ()
    sources: tuple[str, ...] = ()
    session: str = ""
    last: bool = False
    fork: str = ""
    model: str | None = None
    system: str | None = None
    tools: tuple[str, ...] | None = None
    options: TurnOptions = TurnOptions()
    timeout: float | None = None


class Said(Struct, frozen=True):
    """What is said to the model, as `message.send` takes it."""

    before: tuple[Spoken, ...]
    parts: tuple[Part, ...]
    sources: tuple[str, ...] = ()


async def said_by(app: App, prompt: Prompt, signals: Signals) -> Said:
    """Return the message. What servers offer is read for it. Raises `Fault`s."""
    parts = [await attach(path, app.journal.put_blob) for path in prompt.files]
    if prompt.resources:
        from patina.cli.server_resources import read_parts

        for server, uri in prompt.resources:
            parts += await read_parts(app, server, uri, signals)
    parts += prompt.attached
    sources = (*prompt.sources, *(server for server, _ in prompt.resources))
    if prompt.slash:
        from patina.cli.server_prompts import run_slash

        said = await run_slash(app, prompt.slash, signals, must=not prompt.text)
        if said is not None:
            piped = [Text(prompt.piped)] if prompt.piped else []
            sources += said.sources
            return Said(said.before, (*parts, *piped, *said.parts), _once(sources))
    return Said((), (*parts, Text(prompt.text)), _once(sources))


def _once(servers: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(servers))

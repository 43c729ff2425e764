"""What the Tab key completes in the plain chat: commands, prompts of servers and their arguments,
addresses of resources and the arguments of their templates.
"""

import re
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final
from urllib.parse import quote, unquote

import anyio
from anyio.from_thread import BlockingPortal

from patina.assembly.app import App
from patina.cli.talk_mcp import VERBS
from patina.model.faults import Fault

SECONDS: Final = 2.0  # that a person waits for the Tab key
_LIBEDIT: Final = "libedit"
# RFC 6570: expressions of one value, the second of which keeps what is reserved in an address.
_VARIABLE: Final = re.compile(r"\{(\+?[\w.]+)\}")
_RESERVED: Final = ":/?#[]@!$&'()*+,;="


class Completer:
    """Completes the line that is being typed. `commands` are those of the chat itself."""

    def __init__(self, portal: BlockingPortal, app: App, commands: Sequence[str]) -> None:
        self._portal = portal
        self._app = app
        self._commands = tuple(commands)
        self._found: list[str] = []

    def install(self, readline: Any) -> None:  # noqa: ANN401 - a module that Windows lacks
        """Have `readline` ask here."""
        readline.set_completer_delims(" ")
        readline.set_completer(
            lambda text, number: self._at(number, text, readline.get_line_buffer())
        )
        libedit = _LIBEDIT in (readline.__doc__ or "")
        readline.parse_and_bind("bind ^I rl_complete" if libedit else "tab: complete")

    def _at(self, number: int, text: str, line: str) -> str | None:
        if number == 0:
            before = line[: len(line) - len(text)] if line.endswith(text) else line
            self._found = self._portal.call(self._bounded, before, text)
        return self._found[number] if number < len(self._found) else None

    async def _bounded(self, before: str, text: str) -> list[str]:
        found: list[str] = []
        with anyio.move_on_after(SECONDS), suppress(Fault):
            found = await self.candidates(before, text)
        return found

    async def candidates(self, before: str, text: str) -> list[str]:
        """Return what the word `text` may become, after `before`. Raises `Fault`s."""
        words = before.split()
        if not words:
            prompts = await self._app.features.prompts(None) if text.startswith("/") else ()
            known = (*self._commands, *(f"/{one.server}:{one.name}" for one in prompts))
            return [f"{name} " for name in known if text.startswith("/") and name.startswith(text)]
        if words[0] == "/mcp":
            return self._of_servers(words[1:], text)
        if words[0] == "/attach":
            return await self._attachable(words[1:], text)
        server, colon, name = words[0].removeprefix("/").partition(":")
        if not words[0].startswith("/") or not colon:
            return []
        return await self._argument(server, name, words[1:], text)

    def _of_servers(self, before: Sequence[str], text: str) -> list[str]:
        """Return the verbs of /mcp, and after one the names of servers."""
        if before and (len(before) > 1 or before[0] not in VERBS):
            return []
        known = tuple(self._app.supervisor.servers) if before else VERBS
        return [f"{one} " for one in known if one.startswith(text)]

    async def _argument(
        self, server: str, name: str, before: Sequence[str], text: str
    ) -> list[str]:
        key, equals, value = text.partition("=")
        if equals:
            known = dict(word.split("=", 1) for word in before if "=" in word)
            found = await self._app.features.complete(
                server, argument=key, value=value.strip("\"'"), prompt=name, known=known
            )
            return [f"{key}={_quoted(one)} " for one in found.values]
        for info in await self._app.features.prompts((server,)):
            if info.name == name:
                names = [argument.name for argument in info.arguments]
                return [f"{one}=" for one in names if one.startswith(text)]
        return []

    async def _attachable(self, before: Sequence[str], text: str) -> list[str]:
        """Return names of servers, and after one the addresses that `text` may become."""
        servers = self._app.supervisor.servers
        if not before:
            return [f"{server} " for server in servers if server.startswith(text)]
        if len(before) > 1 or before[0] not in servers:
            return []
        server, features = before[0], self._app.features
        resources = await features.resources((server,))
        found = [one.uri for one in resources if one.uri.startswith(text)]
        for one in await features.templates((server,)):
            found += await self._filled_in(server, one.template, text)
        return [uri for uri in dict.fromkeys(found) if uri.isprintable() and " " not in uri]

    async def _filled_in(self, server: str, template: str, text: str) -> list[str]:
        """Return what the address `text` may become by `template`, up to its next variable."""
        pieces = _VARIABLE.split(template)
        known: dict[str, str] = {}
        done, rest = "", text
        for literal, variable, after in zip(pieces[::2], pieces[1::2], pieces[2::2], strict=False):
            if not rest.startswith(literal):
                begun = literal.startswith(rest) and "{" not in literal
                return [done + literal] if begun else []
            done, rest = done + literal, rest[len(literal) :]
            name = variable.removeprefix("+")
            value, ended, _ = rest.partition(after) if after else (rest, "", "")
            if not ended:
                found = await self._app.features.complete(
                    server, argument=name, value=unquote(rest), template=template, known=known
                )
                kept = _RESERVED if variable.startswith("+") else ""
                return [done + quote(one, kept) for one in found.values]
            known[name] = unquote(value)
            done, rest = done + value, rest[len(value) :]
        return []


def _quoted(value: str) -> str:
    import shlex

    printable = "".join(character for character in value if character.isprintable())
    return shlex.quote(printable)

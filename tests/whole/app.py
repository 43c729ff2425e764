"""A whole app over real servers, with a model that says what the test wants."""

import os
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import anyio
import pytest
from tests.mcp.house import MemoryKeys

from patina.assembly.app import App, Setup, open_app
from patina.config.paths import Paths
from patina.engine.bus import Subscription
from patina.model import commands, events
from patina.model.ids import new_id
from patina.model.parts import Text
from patina.model.questions import Answered
from patina.model.settings import Configured, ProviderSettings, ServerSettings, Settings
from patina.model.tree import Tree
from patina.permission.approvals import Approvals
from patina.ports.grants import Grants
from patina.providers.scripted import Script, ScriptedDriver
from patina.secrets.environment import Resolver

E = TypeVar("E", bound=events.Event)
WAIT = 60.0


class Whole:
    """An app, what it said so far, and the model's script."""

    def __init__(self, app: App, reader: Subscription, driver: ScriptedDriver) -> None:
        self.app = app
        self.driver = driver
        self.heard: list[events.AnyEvent] = []
        self._reader = reader

    def send(self, conversation: str, text: str, **more: Any) -> None:
        self.submit(
            commands.SendMessage(
                conversation=conversation, message_id=new_id(), parts=(Text(text),), **more
            )
        )

    def submit(self, command: commands.AnyCommand) -> None:
        self.app.engine.submit(command)

    def give(self, asked: events.QuestionAsked, **content: Any) -> None:
        answered = Answered(action="accept", content=content)
        self.submit(
            commands.AnswerQuestion(
                conversation=asked.conversation, question_id=asked.item.id, answered=answered
            )
        )

    async def until(self, kind: type[E], accept: Callable[[E], bool] = lambda _: True) -> E:
        """Return the next event of a kind; what comes before it is kept in `heard`."""
        with anyio.fail_after(WAIT):
            async for event in self._reader:
                self.heard.append(event)
                if isinstance(event, events.CommandFailed):
                    pytest.fail(f"a command failed: {event.error}")
                if isinstance(event, kind) and accept(event):
                    return event
        raise AssertionError("the app said no more")

    async def tree(self, conversation: str) -> Tree:
        transcript = await self.app.journal.read(conversation)
        return Tree(transcript.items)


@asynccontextmanager
async def whole(
    root: Path,
    servers: Mapping[str, ServerSettings],
    script: Iterable[Script],
    *,
    grants: Grants | None = None,
    **settings: Any,
) -> AsyncIterator[Whole]:
    """Run an app whose folders are below `root`, and whose only model follows `script`."""
    driver = ScriptedDriver(script)
    configured = Configured(
        Settings(
            default_model="play/scripted",
            providers={"play": ProviderSettings(kind="openai_compatible", base_url="http://play")},
            mcp_servers=dict(servers),
            **settings,
        )
    )
    kept = ("PATH", "HOME", "LANG", "SYSTEMROOT", "TEMP", "USERPROFILE", "PATHEXT")
    environ = {name: os.environ[name] for name in kept if name in os.environ}
    setup = Setup(
        configured=configured,
        paths=Paths(
            config=root / "config", data=root / "data", state=root / "state", cache=root / "cache"
        ),
        environ=environ,
        keys=Resolver(environ, MemoryKeys(), lambda _: None),
        approvals=Approvals(every=True, start=frozenset(servers)),
        drivers={"play": driver},
        grants=grants,
    )
    async with open_app(setup) as app:
        with app.engine.subscribe() as reader:
            yield Whole(app, reader, driver)

"""A driver that says what it was told to say. For tests, the demo and `--offline`."""

import json
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from typing import Any

import anyio
import anyio.lowlevel
from msgspec import Struct

from patina.model.chat import (
    ChatRequest,
    Failed,
    Finished,
    ModelInfo,
    StreamEvent,
    TextDelta,
    ThinkingDelta,
    ToolCallDelta,
)
from patina.model.faults import Failure, FaultKind


class Pause(Struct, frozen=True, eq=False):
    """A place in a reply where the driver waits until the test says go on.

    `reached` is set when the driver gets there; set `passed` to let it go on.
    """

    reached: anyio.Event
    passed: anyio.Event

    @classmethod
    def closed(cls) -> "Pause":
        """Return a new gate. Call it inside the event loop."""
        return cls(anyio.Event(), anyio.Event())


Step = StreamEvent | Pause
Reply = Sequence[Step]
Script = Reply | Callable[[ChatRequest], Reply]


def say(*pieces: str) -> list[Step]:
    """Return text in deltas."""
    return [TextDelta(piece, 1) for piece in pieces]


def think(*pieces: str) -> list[Step]:
    """Return reasoning in deltas."""
    return [ThinkingDelta(piece, 0) for piece in pieces]


def call(
    name: str, arguments: Mapping[str, Any] | str, *, call_id: str = "call_1", index: int = 2
) -> list[Step]:
    """Return a tool call: its id and name, then its arguments in two pieces."""
    text = arguments if isinstance(arguments, str) else json.dumps(arguments)
    middle = len(text) // 2
    return [
        ToolCallDelta(index, call_id, name),
        ToolCallDelta(index, arguments=text[:middle]),
        ToolCallDelta(index, arguments=text[middle:]),
    ]


def fail(kind: FaultKind, message: str = "The script says so.", hint: str = "") -> list[Step]:
    """Return the end of a reply that fails."""
    return [Failed(Failure(kind, message, hint))]


class ScriptedDriver:
    """Plays one reply per request, in order. Implements `ports.provider.Driver`.

    A reply is a sequence of events and pauses, or a function from the request to one. A reply
    without a terminal event gets one: "tool_calls" after a tool call, else "stop". With no reply
    left the stream fails, so that a test sees what it did not foresee.

    `requests` are those received; `running` counts the streams that are open now.
    """

    def __init__(self, replies: Iterable[Script] = (), *, model: str = "scripted") -> None:
        self._replies = list(replies)
        self._model = model
        self.requests: list[ChatRequest] = []
        self.running = 0

    def add(self, *replies: Script) -> None:
        """Append replies to the script."""
        self._replies.extend(replies)

    async def stream(self, request: ChatRequest) -> AsyncGenerator[StreamEvent, None]:
        """Play the next reply."""
        number = len(self.requests)
        self.requests.append(request)
        reply: Script = (
            self._replies[number]
            if number < len(self._replies)
            else fail("internal", f"The script has no reply number {number + 1}.")
        )
        steps = reply(request) if callable(reply) else reply
        calls = False
        self.running += 1
        try:
            for step in steps:
                await anyio.lowlevel.checkpoint()
                if isinstance(step, Pause):
                    step.reached.set()
                    await step.passed.wait()
                    continue
                calls = calls or isinstance(step, ToolCallDelta)
                yield step
                if isinstance(step, Finished | Failed):
                    return
            yield Finished("tool_calls" if calls else "stop", model=self._model)
        finally:
            self.running -= 1

    async def list_models(self) -> tuple[ModelInfo, ...]:
        """Return the one model."""
        return (ModelInfo(self._model, self._model),)

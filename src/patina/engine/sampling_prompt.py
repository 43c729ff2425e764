"""A server's prompt as a request to a model, and the model's answer as the server gets it.

Facts: MCP 2025-11-25, sampling: results of tools stand alone in their message, and answer every
call of the message before.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Struct
from msgspec.structs import replace

from patina.model.chat import ChatMessage, Finished, ToolAnswer, ToolSpec
from patina.model.faults import McpFault, ProviderFault, UsageFault
from patina.model.items import StopReason
from patina.model.parts import CallResult, Part, Spoken, Text, ToolCall, well_formed
from patina.model.questions import Sampled, Sampling

INVALID_PARAMS: Final = "-32602"  # JSON-RPC
LONGEST_ALIAS: Final = 64
NO_WORDS: Final = Text("")
_ILLEGAL: Final = re.compile(r"[^a-zA-Z0-9_-]")
_REASONS: Final[dict[StopReason, str]] = {
    "length": "maxTokens",
    "content_filter": "contentFilter",
    "refusal": "refusal",
}


class Tools(Struct, frozen=True):
    """The tools of a prompt: as the model is told of them, and their names by their aliases."""

    specs: tuple[ToolSpec, ...] = ()
    names: Mapping[str, str] = {}


def tools_of(prompt: Sampling) -> Tools:
    """Return the prompt's tools. Raises `McpFault` for what is none."""
    specs: list[ToolSpec] = []
    names: dict[str, str] = {}
    for tool in prompt.tools:
        name, schema = tool.get("name"), tool.get("inputSchema", {})
        if not isinstance(name, str) or not name or not isinstance(schema, dict):
            raise _wrong("It has a tool without a name or a schema.")
        if name in names.values():
            raise _wrong("It has two tools with the same name.")
        alias = _alias(name, names)
        names[alias] = name
        specs.append(ToolSpec(alias, str(tool.get("description") or ""), schema))
    return Tools(tuple(specs), names)


def _alias(name: str, taken: Mapping[str, str]) -> str:
    """Return a name that every provider takes, and that no tool of the prompt has yet."""
    plain = _ILLEGAL.sub("_", name)
    alias, number = plain[:LONGEST_ALIAS], 1
    while alias in taken:
        number += 1
        alias = f"{plain[: LONGEST_ALIAS - 8]}_{number}"
    return alias


def messages_of(
    prompt: Sampling, tools: Tools, ours: Mapping[str, Spoken], provider: str
) -> tuple[ChatMessage, ...]:
    """Return the prompt's messages for a model of `provider`.

    `ours` are answers of that provider to earlier prompts, by the id of their first call: one that
    the server sends back unchanged goes with all that the provider had made for itself. Without
    tools, earlier calls and their results are told in words. Raises `McpFault` for what is no
    conversation.
    """
    aliases = {name: alias for alias, name in tools.names.items()}
    told: list[ChatMessage] = []
    waiting: tuple[ToolCall, ...] = ()
    for spoken in prompt.messages:
        if bool(waiting) != bool(spoken.answers):
            raise _wrong("It has a tool call without its result, or a result without its call.")
        if spoken.answers:
            told.append(_results(spoken, waiting, plain=not tools.specs))
            waiting = ()
            continue
        waiting = tuple(part for part in spoken.parts if isinstance(part, ToolCall))
        if waiting and (spoken.role == "user" or len({call.id for call in waiting}) < len(waiting)):
            raise _wrong("It has tool calls that no model can have made.")
        made = ours.get(waiting[0].id) if waiting and tools.specs else None
        own = made is not None and _essence(made.parts) == _essence(spoken.parts)
        parts = made.parts if made is not None and own else spoken.parts
        parts = tuple(
            _on_the_wire(part, aliases, plain=not tools.specs)
            for part in parts
            if not isinstance(part, Text) or part.text or part.blob or part.opaque
        )
        if parts:
            told.append(ChatMessage(spoken.role, parts, provider=provider if own else ""))
    if waiting or not told:
        raise _wrong("It ends in a tool call without its result." if waiting else "It is empty.")
    return tuple(told)


def _essence(parts: Iterable[Part]) -> list[object]:
    # The arguments travelled as an object: their spelling may differ.
    return [
        (part.id, part.name, _arguments(part)) if isinstance(part, ToolCall) else part
        for part in _said(parts)
    ]


def _arguments(call: ToolCall) -> object:
    """Return the value of the arguments, None for what is no JSON."""
    try:
        return msgspec.json.decode(call.arguments)
    except (ValueError, RecursionError):  # what is no UTF-8 is no MsgspecError
        return None


def _said(parts: Iterable[Part]) -> list[Part]:
    """Return what a server gets of a model's answer: its words and calls."""
    said: list[Part] = []
    for part in parts:
        if isinstance(part, Text) and part.text:
            said.append(Text(well_formed(part.text)))
        elif isinstance(part, ToolCall):
            said.append(replace(part, opaque=None))
    return said


def _on_the_wire(part: Part, aliases: Mapping[str, str], *, plain: bool) -> Part:
    if not isinstance(part, ToolCall):
        return part
    if plain:
        return Text(f"[The tool {part.name} was called with {part.arguments}]")
    return replace(part, name=aliases.get(part.name) or _alias(part.name or "unknown", {}))


def _results(spoken: Spoken, calls: Iterable[ToolCall], *, plain: bool) -> ChatMessage:
    results = {result.call_id: result for result in spoken.answers}
    calls = tuple(calls)
    if (
        spoken.parts
        or spoken.role != "user"
        or len(results) < len(spoken.answers)
        or set(results) != {call.id for call in calls}
    ):
        raise _wrong("Its results do not answer the calls of the message before.")
    if plain:
        return ChatMessage("user", tuple(p for call in calls for p in _words(call, results)))
    return ChatMessage("tool", answers=tuple(_answer(results[call.id]) for call in calls))


def _words(call: ToolCall, results: Mapping[str, CallResult]) -> tuple[Part, ...]:
    return (Text(f"[The result of {call.name}:]\n"), *results[call.id].parts)


def _answer(result: CallResult) -> ToolAnswer:
    return ToolAnswer(result.call_id, "failed" if result.is_error else "completed", result.parts)


def _wrong(why: str) -> McpFault:
    return McpFault(f"The server's prompt cannot be sent to a model. {why}", code=INVALID_PARAMS)


class Changes(Struct, frozen=True, forbid_unknown_fields=True):
    """What a person changed of a prompt (`Answered.content`)."""

    system: str | None = None
    messages: dict[str, str] = {}
    model: str | None = None
    max_tokens: Annotated[int, Meta(ge=1)] | None = None

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> "Changes":
        """Return the changes. Raises `UsageFault` for what are none."""
        try:
            return msgspec.convert(content, cls)
        except msgspec.ValidationError as error:
            raise UsageFault(f"The changes of the prompt cannot be used: {error}.") from error

    def apply(self, prompt: Sampling) -> Sampling:
        """Return the prompt with them. Raises `UsageFault` for a message that is not there."""
        messages = {str(number): spoken for number, spoken in enumerate(prompt.messages)}
        for number, text in self.messages.items():
            if number not in messages:
                raise UsageFault(f"The prompt has no message {number[:20]!r} to change.")
            messages[number] = _with_text(messages[number], text)
        return replace(
            prompt,
            messages=tuple(messages.values()),
            system=prompt.system if self.system is None else self.system,
            model=self.model or prompt.model,
            max_tokens=self.max_tokens or prompt.max_tokens,
        )


def _with_text(spoken: Spoken, text: str) -> Spoken:
    if spoken.answers:
        raise UsageFault("The results of the server's own tools cannot be changed.")
    rest = tuple(part for part in spoken.parts if not isinstance(part, Text))
    return replace(spoken, parts=(Text(text), *rest) if text else rest)


def sampled(
    prompt: Sampling, parts: tuple[Part, ...], end: Finished, model: str
) -> tuple[Sampled, Spoken]:
    """Return what the server gets, and the same with what the provider made for itself.

    The answer ends before the first of the prompt's stop sequences. Raises `ProviderFault` for a
    call whose arguments are no object, which MCP cannot carry.
    """
    kept: list[Part] = []
    stopped = False
    for part in parts if prompt.tools else (p for p in parts if not isinstance(p, ToolCall)):
        if isinstance(part, ToolCall):
            _check_arguments(part)
        elif isinstance(part, Text):
            text = _before(part.text, prompt.stop)
            stopped = len(text) < len(part.text)
            part = replace(part, text=text)
        kept.append(part)
        if stopped:
            break
    reason = _REASONS.get(end.reason, "endTurn")
    if stopped:
        reason = "stopSequence"
    elif any(isinstance(part, ToolCall) for part in kept):
        reason = "toolUse"
    said = Spoken("assistant", tuple(_said(kept)) or (NO_WORDS,))
    whole = Spoken("assistant", tuple(kept))
    return Sampled(model=end.model or model, said=said, stop_reason=reason, usage=end.usage), whole


def _before(text: str, stops: Iterable[str]) -> str:
    places = (text.find(stop) for stop in stops if stop)
    return text[: min((place for place in places if place >= 0), default=len(text))]


def _check_arguments(call: ToolCall) -> None:
    if not isinstance(_arguments(call), dict):
        raise ProviderFault(
            f"The model called {call.name} with arguments that are no JSON object.",
            hint="Nothing was sent to the server. It may ask again.",
        )

"""What servers ask, between MCP's words and Patina's. Import it late.

Facts: MCP 2025-11-25 and 2026-07-28, client/elicitation, client/sampling and client/roots.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import mcp_types as types
import msgspec
from pydantic import FileUrl

from patina.mcp.hosting import PutBlob
from patina.mcp.results import parts_of
from patina.mcp.text import shortened, visible
from patina.model.faults import Fault
from patina.model.parts import CallResult, Part, Spoken, Text, ToolCall, text_of
from patina.model.questions import Answered, Asked, Sampled, Sampling

# What a server is told that asks while nobody is there to answer.
UNHEARD: Final = "No call is under way for which somebody could answer."
_WORDS: Final = 1000


def asked_of(params: types.ElicitRequestParams) -> Asked:
    """Return a server's form or page as a question."""
    if isinstance(params, types.ElicitRequestURLParams):
        return Asked(kind="url", text=params.message, url=params.url)
    return Asked(kind="form", text=params.message, form=params.requested_schema)


def elicited(answered: Answered, asked: Asked) -> types.ElicitResult:
    """Return a person's answer in MCP's words; only an accepted form has content."""
    content = answered.content if answered.action == "accept" and asked.kind == "form" else None
    return types.ElicitResult(action=answered.action, content=content)


async def sampling_of(params: types.CreateMessageRequestParams, put_blob: PutBlob) -> Sampling:
    """Return a server's prompt. The context it would like to have is never given."""
    wishes = params.model_preferences
    priorities = {
        "cost": wishes.cost_priority if wishes else None,
        "speed": wishes.speed_priority if wishes else None,
        "intelligence": wishes.intelligence_priority if wishes else None,
    }
    tools = params.tools or []
    if params.tool_choice is not None and params.tool_choice.mode == "none":
        tools = []
    return Sampling(
        messages=tuple([await _spoken(message, put_blob) for message in params.messages]),
        system=params.system_prompt or "",
        hints=tuple(hint.name for hint in (wishes.hints if wishes else None) or () if hint.name),
        max_tokens=params.max_tokens,
        temperature=params.temperature,
        stop=tuple(params.stop_sequences or ()),
        tools=tuple(_tool(tool) for tool in tools),
        priorities={name: value for name, value in priorities.items() if value is not None},
    )


def _tool(tool: types.Tool) -> dict[str, Any]:
    return tool.model_dump(
        by_alias=True, mode="json", include={"name", "description", "input_schema"}
    )


async def _spoken(message: types.SamplingMessage, put_blob: PutBlob) -> Spoken:
    blocks = message.content if isinstance(message.content, list) else [message.content]
    parts: list[Part] = []
    answers: list[CallResult] = []
    for block in blocks:
        if isinstance(block, types.ToolUseContent):
            arguments = msgspec.json.encode(block.input).decode()
            parts.append(ToolCall(block.id, block.name, arguments))
        elif isinstance(block, types.ToolResultContent):
            said = await parts_of(block.content, block.structured_content, put_blob)
            answers.append(CallResult(block.tool_use_id, said, bool(block.is_error)))
        else:
            parts += await parts_of([block], None, put_blob)
    return Spoken(message.role, tuple(parts), tuple(answers))


def sampled_result(
    sampled: Sampled, *, has_tools: bool
) -> types.CreateMessageResult | types.CreateMessageResultWithTools:
    """Return what a model answered in MCP's words. `has_tools`: the server's prompt had some."""
    if not has_tools:
        return types.CreateMessageResult(
            role="assistant",
            content=types.TextContent(text=text_of(sampled.said.parts)),
            model=sampled.model,
            stop_reason=sampled.stop_reason,
        )
    return types.CreateMessageResultWithTools(
        role="assistant",
        content=list(_blocks(sampled.said.parts)) or [types.TextContent(text="")],
        model=sampled.model,
        stop_reason=sampled.stop_reason,
    )


def _blocks(parts: Iterable[Part]) -> Iterable[types.TextContent | types.ToolUseContent]:
    for part in parts:
        if isinstance(part, Text):
            yield types.TextContent(text=part.text)
        elif isinstance(part, ToolCall):
            # The engine passes on no call whose arguments are no object.
            arguments = msgspec.json.decode(part.arguments, type=dict[str, Any])
            yield types.ToolUseContent(name=part.name, id=part.id, input=arguments)


def refusal(fault: Fault) -> types.ErrorData:
    """Return a fault as the error that a server gets, with the number that the fault has."""
    failure = fault.failure
    try:
        code = int(failure.code)
    except ValueError:
        code = types.INTERNAL_ERROR
    return types.ErrorData(code=code, message=shortened(visible(failure.message), _WORDS))


def roots_of(folders: Iterable[str]) -> types.ListRootsResult:
    """Return the folders that the user chose, as a server is told of them."""
    roots: list[types.Root] = []
    for folder in folders:
        path = Path(folder).expanduser().absolute()
        roots.append(types.Root(uri=FileUrl(path.as_uri()), name=path.name or str(path)))
    return types.ListRootsResult(roots=roots)

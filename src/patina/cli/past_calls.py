"""The tool calls that the transcripts hold, with how each was decided."""

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from patina.model.chat import ToolInfo, split_tool_name
from patina.model.items import Ask, Decision, Message
from patina.model.parts import ToolCall
from patina.permission.replay import Past

if TYPE_CHECKING:
    from patina.cli.context import Context
    from patina.model.codec import Unknown
    from patina.model.items import AnyItem


async def past_calls(run: "Context", known: Iterable[ToolInfo], most: int) -> list[Past]:
    """Return the newest calls, oldest first, at most `most` of them.

    Conversations in the trash do not count. `known` are tools as they are now; of one that is not
    among them, only what its server claimed when a person was asked is known.
    """
    from patina.store.journal import FileJournal

    by_name = {tool.name: tool for tool in known}
    found: list[Past] = []
    async with FileJournal(run.paths.data, run.paths.state) as journal:
        for summary in await journal.list():
            # The list goes from the newest change back, and a decision is a change.
            if len(found) >= most and summary.updated < found[-most].ts:
                break
            if summary.meta is not None and summary.meta.deleted:
                continue
            transcript = await journal.read(summary.conversation)
            found += _calls(transcript.items, summary.conversation, by_name)
            found.sort(key=lambda past: past.ts)
    return found[-most:]


def _calls(
    items: "Iterable[AnyItem | Unknown]", conversation: str, known: Mapping[str, ToolInfo]
) -> Iterator[Past]:
    calls: dict[tuple[str, str], ToolCall] = {}
    asks: dict[str, Ask] = {}
    found: dict[tuple[str, str], Past] = {}  # what was decided last counts
    for item in items:
        if isinstance(item, Message):
            parts = (part for part in item.parts if isinstance(part, ToolCall))
            calls |= {(item.id, call.id): call for call in parts}
        elif isinstance(item, Ask):
            asks[item.id] = item
        elif isinstance(item, Decision):
            call = calls.get((item.message, item.call_id))
            arguments = _arguments(call) if call is not None else None
            if call is None or arguments is None:
                continue  # a question that is about no call, or what no tool could be given
            found[item.message, item.call_id] = Past(
                conversation=conversation,
                item=item.message,
                ts=item.ts,
                tool=known.get(call.name) or _tool(call.name, asks.get(item.ask or "")),
                arguments=arguments,
                choice=item.choice,
                rule=item.rule,
            )
    yield from found.values()


def _arguments(call: ToolCall) -> dict[str, Any] | None:
    try:
        read = msgspec.json.decode(call.arguments) if call.arguments.strip() else {}
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        return None
    return read if isinstance(read, dict) else None


def _tool(name: str, ask: Ask | None) -> ToolInfo:
    """Return a tool of which only a question tells, if that."""
    server, tool = split_tool_name(name)
    effects = ask.effects if ask is not None else ()
    reads, writes = "reads" in effects, "writes" in effects
    return ToolInfo(
        server=server,
        tool=tool,
        alias="",
        display_name=ask.display_name if ask is not None else server,
        read_only=True if reads else False if writes else None,
        destructive=True if "destructive" in effects else None,
        open_world=True if "open_world" in effects else None,
        built_in=server == "patina",
    )

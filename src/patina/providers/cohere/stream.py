"""From the bytes of a streamed chat answer to events.

Parts are numbered as they begin: Cohere counts its content blocks and its tool calls apart.
"""

from collections.abc import Mapping
from typing import Any, Final, Literal

from patina.model.chat import Finished, TextDelta, ThinkingDelta, ToolCallDelta
from patina.model.items import StopReason
from patina.model.parts import well_formed
from patina.model.sse import ServerSentEvent
from patina.model.usage import Usage
from patina.providers import failures
from patina.providers.cohere.chunks import Call, Delta, Event, Message, call_of, decode
from patina.providers.cohere.citations import block_of, citations_of
from patina.providers.endpoint import Endpoint
from patina.providers.lenient import UnreadableError, count, mapping, sequence, text
from patina.providers.reading import StreamReader, beginning
from patina.providers.seal import seal

WIRE: Final = "cohere"
PLAN: Final = "plan"
THOUGHT: Final = "thinking"
# In lower case; the endpoint writes them in capitals.
_REASONS: Final[dict[str, StopReason]] = {
    "complete": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "tool_call": "tool_calls",
    "error_toxic": "content_filter",
}
# Ends that are none, by the codes that say what they are. The last two are of older models.
_BAD_ENDS: Final = {
    "error": "",
    "timeout": "timeout",
    "error_toxic": "content_filter",
    "error_limit": "context_length_exceeded",
}

Kind = Literal["text", "thinking", "plan", "call"]


class CohereReader(StreamReader):
    """Reads one answer. Implements `converse.Reader`.

    `aliases` are the tools that have another name at Cohere, by that name.
    """

    plain = (b"{",)

    def __init__(self, endpoint: Endpoint, model: str, aliases: Mapping[str, str]) -> None:
        super().__init__(endpoint, model)
        self._aliases = aliases
        self._places: dict[tuple[Kind, int], int] = {}
        self._last_text = 0
        self._reason = ""

    def _take(self, event: ServerSentEvent) -> None:
        data = event.data
        try:
            chunk = decode(data)
        except UnreadableError:
            if data != b"[DONE]":
                self._fail(failures.unreadable(self._endpoint, beginning(data)))
            return
        if event.event == "error" or chunk.type == "error":
            self._fail(failures.complained(self._endpoint, self._model, data))
        elif chunk.delta is not None:
            self._read(chunk, chunk.delta)
        elif chunk.plain:
            self._read_plain(chunk.plain, data)

    def _read(self, chunk: Event, delta: Delta) -> None:
        message = delta.message
        if message is not None:
            content = message.content
            if content is not None:
                if content.text:
                    self._write(content.text, chunk.index or 0)
                if content.thinking:
                    self._ponder(content.thinking, "thinking", chunk.index or 0)
            if message.tool_plan or message.tool_calls or message.citations:
                self._notice(chunk, message)
        if chunk.type == "message-end":
            self._end_with(delta)

    def _notice(self, chunk: Event, message: Message) -> None:
        if message.tool_plan:
            self._ponder(message.tool_plan, "plan", 0)
        if message.tool_calls:
            self._call(message.tool_calls, chunk.index or 0)
        if message.citations:
            self._cite(message.citations)

    def _place(self, kind: Kind, index: int) -> tuple[int, bool]:
        """Return the number of a part, and whether it begins."""
        place = self._places.get((kind, index))
        if place is not None:
            return place, False
        place = self._places[kind, index] = len(self._places)
        return place, True

    def _write(self, words: str, index: int) -> None:
        self._last_text = index
        self._say(words, self._place("text", index)[0])

    def _ponder(self, words: str, kind: Literal["thinking", "plan"], index: int) -> None:
        place, begins = self._place(kind, index)
        if begins:
            mark = seal(WIRE, PLAN if kind == "plan" else THOUGHT)
            self._emit(ThinkingDelta("", place, opaque=mark))
        self._think(words, place)

    def _call(self, call: Call, index: int) -> None:
        function = call.function
        name = well_formed((function.name if function else None) or "")
        if ("call", index) not in self._places and not (name or call.id):
            return  # a piece of nothing that ever began
        place, begins = self._place("call", index)
        if begins:
            identifier = self._call_id(well_formed(call.id or ""))
            self._emit(ToolCallDelta(place, identifier, self._aliases.get(name, name)))
        if function is not None and function.arguments:
            self._argue(function.arguments, place)

    def _cite(self, plain: Any) -> None:  # noqa: ANN401 - whatever an endpoint sends
        block = block_of(plain)
        place = self._places.get(("text", self._last_text if block is None else block))
        if place is not None and (found := citations_of(plain)):
            self._emit(TextDelta("", place, found))

    def _end_with(self, delta: Delta) -> None:
        self._reason = well_formed(delta.finish_reason or "")
        self._usage = usage_of(delta.usage)
        code = _BAD_ENDS.get(self._reason.lower())
        # What was said before the filter is an answer, as it is elsewhere.
        filtered = code == "content_filter" and bool(self._places)
        if not filtered and (code is not None or delta.error):
            complaint = {"message": delta.error, "code": code}
            self._fail(failures.in_stream(self._endpoint, self._model, complaint))
        self.ended = True

    def _read_plain(self, plain: Mapping[str, Any], data: bytes) -> None:
        """Read an answer that was not streamed, or an error."""
        message = plain.get("message")
        if not isinstance(message, Mapping):
            if message or plain.get("error"):
                self._fail(failures.complained(self._endpoint, self._model, data))
            return
        if plan := text(message.get("tool_plan")):
            self._ponder(plan, "plan", 0)
        for index, block in enumerate(sequence(message.get("content"))):
            if thinking := text(mapping(block).get("thinking")):
                self._ponder(thinking, "thinking", index)
            if words := text(mapping(block).get("text")):
                self._write(words, index)
        for index, call in enumerate(sequence(message.get("tool_calls"))):
            self._call(call_of(call), index)
        for citation in sequence(message.get("citations")):
            self._cite(citation)
        if reason := text(plain.get("finish_reason")):
            self._end_with(Delta(None, reason, plain.get("usage"), plain.get("error")))

    def _is_complete(self) -> bool:
        return self.ended

    def _finished(self) -> Finished:
        reason = _REASONS.get(self._reason.lower(), "stop")
        if reason == "stop" and self._ids:
            reason = "tool_calls"
        return Finished(reason, self._reason, self._usage, self._model)


def usage_of(plain: Any) -> Usage | None:  # noqa: ANN401 - whatever an endpoint sends
    """Return the tokens of a `usage` object; None where it names none.

    `billed_units` are those that are paid for; `tokens`, which hold what Cohere itself adds to a
    request and does not charge, stand in where the others are missing. What of `tokens` came from
    a cache says nothing of the billed ones.
    """
    plain = mapping(plain)
    billed, tokens = mapping(plain.get("billed_units")), mapping(plain.get("tokens"))
    paid = billed or tokens
    sent, received = count(paid.get("input_tokens")), count(paid.get("output_tokens"))
    if not sent and not received:
        return None
    return Usage(sent, received, 0 if billed else min(count(plain.get("cached_tokens")), sent))

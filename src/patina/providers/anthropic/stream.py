"""From the bytes of a streamed message to events. A part's index is that of its block."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec import Struct

from patina.model.chat import Finished, TextDelta, ThinkingDelta, ToolCallDelta
from patina.model.items import StopReason
from patina.model.parts import Citation
from patina.model.sse import ServerSentEvent
from patina.model.usage import Usage
from patina.providers import failures
from patina.providers.anthropic.events import Delta, Event, decode
from patina.providers.anthropic.messages import WIRE
from patina.providers.charges import service_of
from patina.providers.endpoint import Endpoint
from patina.providers.lenient import UnreadableError, count, decode_json, mapping, sequence, text
from patina.providers.reading import StreamReader, beginning
from patina.providers.seal import seal

_REASONS: Final[dict[str, StopReason]] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    # Only tools that run at the provider pause a turn, and Patina asks for none of them: what is
    # there is all there is to come.
    "pause_turn": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "refusal",
}
_COUNTS: Final = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
_DONE: Final = b"[DONE]"  # of servers that speak OpenAI's protocol too


class _Call(Struct):
    """A call that is being written: the input it began with, until a piece of it comes."""

    input: Mapping[str, Any]
    begun: bool = False


class MessagesReader(StreamReader):
    """Reads one answer. Implements `converse.Reader`."""

    plain = (b"{",)

    def __init__(self, endpoint: Endpoint, model: str) -> None:
        super().__init__(endpoint, model)
        self._calls: dict[int, _Call] = {}
        self._counts: dict[str, int] = {}
        self._reason = ""
        self._said = False

    def _take(self, event: ServerSentEvent) -> None:
        try:
            said = decode(event.data)
        except UnreadableError:
            if event.data.strip() == _DONE:
                self.ended = True
            else:
                self._fail(failures.unreadable(self._endpoint, beginning(event.data)))
            return
        if said.type == "content_block_delta":
            if said.delta is not None:
                self._grow(said.index, said.delta)
        elif said.type == "content_block_start":
            self._open(said.index, mapping(said.content_block))
        elif said.type == "content_block_stop":
            self._close(said.index)
        elif said.type == "error" or event.event == "error":
            self._fail(failures.complained(self._endpoint, self._model, event.data))
        else:
            self._frame(said, event.data)

    def _frame(self, said: Event, data: bytes) -> None:
        """Take an event that is not about a block."""
        if said.type == "message_start":
            self._begin(mapping(said.message))
        elif said.type == "message_delta":
            self._count(said.usage)
            if said.delta is not None and said.delta.stop_reason:
                self._stop(said.delta.stop_reason, said.delta.stop_details)
        elif said.type == "message_stop":
            self.ended = True
        elif said.type == "message":
            self._whole_message(mapping(decode_json(data)))
        elif said.error:
            self._fail(failures.in_stream(self._endpoint, self._model, said.error))

    def _begin(self, message: Mapping[str, Any]) -> None:
        self._answered_by = self._answered_by or text(message.get("model"))
        self._count(message.get("usage"))

    def _whole_message(self, message: Mapping[str, Any]) -> None:
        """Take an answer that was not streamed."""
        self._begin(message)
        for index, block in enumerate(sequence(message.get("content"))):
            self._open(index, mapping(block))
            self._close(index)
        if reason := text(message.get("stop_reason")):
            self._stop(reason, message.get("stop_details"))
        self.ended = True

    # Blocks.

    def _open(self, index: int, block: Mapping[str, Any]) -> None:
        """Begin a block. Those of tools that run at the provider are passed over."""
        kind = block.get("type")
        if kind == "tool_use" and index not in self._calls:  # one that is told twice is one
            self._calls[index] = _Call(mapping(block.get("input")))
            self._emit(ToolCallDelta(index, text(block.get("id")), text(block.get("name"))))
        elif kind == "redacted_thinking":
            data = text(block.get("data"))
            self._emit(ThinkingDelta("", index, opaque=seal(WIRE, data) if data else None))
        elif kind in {"text", "thinking"}:
            self._grow(
                index,
                Delta(
                    text=text(block.get("text")),
                    thinking=text(block.get("thinking")),
                    signature=text(block.get("signature")),
                ),
            )
            for citation in sequence(block.get("citations")):
                self._cite(index, mapping(citation))

    def _grow(self, index: int, delta: Delta) -> None:
        if delta.text:
            self._said = True
            self._say(delta.text, index)
        if delta.partial_json and (call := self._calls.get(index)) is not None:
            call.begun = True
            self._argue(delta.partial_json, index)
        if delta.thinking:
            self._think(delta.thinking, index)
        if delta.signature:
            self._emit(ThinkingDelta("", index, signature=seal(WIRE, delta.signature)))
        if delta.citation:
            self._cite(index, mapping(delta.citation))

    def _close(self, index: int) -> None:
        """End a block; a call whose arguments did not come in pieces has them at once."""
        call = self._calls.get(index)
        if call is not None and not call.begun:
            call.begun = True
            self._argue(msgspec.json.encode(call.input).decode(), index)

    def _cite(self, index: int, citation: Mapping[str, Any]) -> None:
        # What the API counts are places in the source, not in the answer: they are left out, but
        # for the page, which helps to find it.
        title = text(citation.get("title")) or text(citation.get("document_title"))
        if page := count(citation.get("start_page_number")):
            title = f"{title}, p. {page}" if title else f"p. {page}"
        url = text(citation.get("url")) or text(citation.get("source"))
        quote = text(citation.get("cited_text"))
        if url or title or quote:
            self._emit(TextDelta("", index, (Citation(url, title, quote),)))

    # The end.

    def _stop(self, reason: str, details: Any) -> None:  # noqa: ANN401 - whatever a server sends
        self._reason = self._reason or reason
        for index in self._calls:
            self._close(index)
        # A refusal before the first word: what the provider says of it is better than nothing.
        explanation = text(mapping(details).get("explanation"))
        if reason == "refusal" and explanation and not self._said:
            self._grow(0, Delta(text=explanation))

    def _count(self, usage: Any) -> None:  # noqa: ANN401
        """Take a `usage` object. Its numbers are sums so far; those left out stay as they were."""
        plain = mapping(usage)
        self._charge(plain, _service(plain))
        for name in (*_COUNTS, "output_tokens"):
            if isinstance(plain.get(name), int | float):
                self._counts[name] = count(plain[name])
        details = mapping(plain.get("output_tokens_details"))
        if isinstance(details.get("thinking_tokens"), int | float):
            self._counts["thinking_tokens"] = count(details["thinking_tokens"])
        sent = sum(self._counts.get(name, 0) for name in _COUNTS)
        received = self._counts.get("output_tokens", 0)
        if sent or received:
            _, read, written = (self._counts.get(name, 0) for name in _COUNTS)
            thought = min(self._counts.get("thinking_tokens", 0), received)
            self._usage = Usage(sent, received, read, written, thought)

    def _is_complete(self) -> bool:
        return bool(self._reason)

    def _finished(self) -> Finished:
        reason = _REASONS.get(self._reason, "stop")
        if reason == "stop" and self._calls:
            reason = "tool_calls"  # some servers say "end_turn" although they call tools
        model = self._answered_by or self._model
        return Finished(reason, self._reason, self._usage, model)


def _service(usage: Mapping[str, Any]) -> str:
    """Return the word for the service: that of the tier, or for what costs more in the usual one.

    Field names: API reference, "Usage" (`service_tier`, `inference_geo`; `speed` in the beta).
    """
    words = [service_of(usage.get("service_tier")), service_of(usage.get("speed"))]
    words += ["us"] if usage.get("inference_geo") == "us" else []
    return "-".join(filter(None, words))

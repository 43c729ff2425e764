"""From the bytes of a streamed response to events.

A part has its place by the item it stands in and its place there, so that thinking, texts and
calls keep the order in which they came.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from msgspec import Struct

from patina.model.chat import Finished, StreamEvent, TextDelta, ThinkingDelta, ToolCallDelta
from patina.model.faults import Failure
from patina.model.items import StopReason
from patina.model.sse import ServerSentEvent
from patina.providers import failures
from patina.providers.endpoint import Endpoint
from patina.providers.history import to_json
from patina.providers.lenient import UnreadableError, decode_json, mapping, sequence, text
from patina.providers.openai_responses.events import (
    BLANK_LINE,
    WIRE,
    StreamedEvent,
    citation_of,
    decode,
    reasoning_state,
    thoughts_of,
    usage_of,
)
from patina.providers.reading import StreamReader, beginning
from patina.providers.seal import seal

_DONE: Final = b"[DONE]"  # not of this protocol, but some servers send it
_SPAN: Final = 1000  # places for the parts of one item
_BAD: Final = frozenset({"failed", "incomplete", "cancelled"})
_REASONS: Final[dict[str, StopReason]] = {
    "max_output_tokens": "length",
    "content_filter": "content_filter",
}


class _Call(Struct):
    """A call that is being told: its part, and what has come of it."""

    index: int
    item: str
    named: bool
    spoken: bool = False
    done: bool = False


class ResponsesReader(StreamReader):
    """Reads one answer. Implements `converse.Reader`."""

    plain = (b"{",)

    def __init__(self, endpoint: Endpoint, model: str) -> None:
        super().__init__(endpoint, model)
        self._latest = -1  # the text part that was spoken last
        self._texts: set[int] = set()
        self._cited: dict[int, int] = {}  # how many annotations of a text were taken
        self._thoughts: dict[int, tuple[str, int]] = {}  # thinking parts, and their last section
        self._calls: dict[int, _Call] = {}  # the last call of each place in the output
        self._opened: dict[int, int] = {}  # how many calls there were at each place
        self._over = False  # whether the body has ended
        self._sealed = False  # whether there is reasoning that has to go back
        self._refusal = False
        self._state = ""
        self._raw_reason = ""
        self._handlers: dict[str, Callable[[StreamedEvent], None]] = {
            "response.refusal.delta": self._refuse,
            "response.reasoning_summary_part.added": self._new_section,
            "response.reasoning_summary_text.delta": self._reason,
            "response.reasoning_text.delta": self._reason,
            "response.function_call_arguments.delta": self._call_on,
            "response.output_text.annotation.added": self._cite,
            "response.output_item.added": self._begin,
            "response.output_item.done": self._done,
            "response.completed": self._close,
            "response.incomplete": self._close,
            "response.failed": self._close,
            "response.cancelled": self._close,
        }

    def finish(self) -> Sequence[StreamEvent]:
        """Return the rest of a body that ended in order, and how the answer ended."""
        self._over = True
        return super().finish()

    def _take(self, event: ServerSentEvent) -> None:
        try:
            self._understand(event.data)
        except UnreadableError:
            if event.data == _DONE or self._over:
                self.ended = True  # too early: what is torn is no rubbish
            elif event.data:
                self._fail(failures.unreadable(self._endpoint, beginning(event.data)))

    def _understand(self, data: bytes) -> None:
        one = decode(data)
        kind = one.type
        if kind == "response.output_text.delta":
            self._text(one.output_index * _SPAN + one.content_index, one.delta or "")
            return
        handler = self._handlers.get(kind)
        if handler is not None:
            handler(one)
        elif not kind or kind == "error":
            self._take_plain(data)

    def _take_plain(self, data: bytes) -> None:
        """Take an error, or a whole response that was not streamed."""
        plain = mapping(decode_json(data))
        if isinstance(plain.get("output"), list):
            self._conclude(text(plain.get("status")), plain)
        elif error := plain.get("error"):
            self._fail(failures.in_stream(self._endpoint, self._model, error))
        elif plain.get("type") == "error":
            flat = {key: plain.get(key) for key in ("code", "message")}
            self._fail(failures.in_stream(self._endpoint, self._model, flat))

    # Parts as they grow.

    def _text(self, index: int, words: str) -> None:
        if index != self._latest:
            self._latest = index
            self._texts.add(index)
        self._say(words, index)

    def _refuse(self, one: StreamedEvent) -> None:
        self._refusal = True
        self._text(one.output_index * _SPAN + one.content_index, one.delta or "")

    def _reason(self, one: StreamedEvent) -> None:
        """More thinking. Blank lines stand between what the server tells apart."""
        if not one.delta:
            return
        index = one.output_index * _SPAN
        clear = one.type == "response.reasoning_text.delta"
        section = ("text", one.content_index) if clear else ("summary", one.summary_index)
        last = self._thoughts.get(index)
        if section != last:
            self._thoughts[index] = section
            if last is not None:
                self._think(BLANK_LINE, index)
        self._think(one.delta, index)

    def _new_section(self, one: StreamedEvent) -> None:
        index = one.output_index * _SPAN
        if index in self._thoughts:
            self._thoughts[index] = ("", -1)

    def _cite(self, one: StreamedEvent) -> None:
        self._cite_all(one.output_index * _SPAN + one.content_index, [one.annotation])

    def _cite_all(self, index: int, annotations: list[Any]) -> None:
        self._cited[index] = self._cited.get(index, 0) + len(annotations)
        if found := tuple(source for one in annotations if (source := citation_of(one))):
            self._emit(TextDelta("", index, found))

    def _begin(self, one: StreamedEvent) -> None:
        item = mapping(one.item)
        if item.get("type") == "function_call":
            known = self._calls.get(one.output_index)
            if known is None or known.done or known.item != _name_of(item):
                self._open(one.output_index, item)

    def _open(self, place: int, item: Mapping[str, Any]) -> _Call:
        """Begin a call. Some servers give every item the place 0: each call has its own part."""
        number = self._opened.get(place, 0)
        self._opened[place] = number + 1
        index, name = place * _SPAN + number, text(item.get("name"))
        call = self._calls[place] = _Call(index, _name_of(item), bool(name))
        identifier = self._call_id(text(item.get("call_id")) or text(item.get("id")))
        self._emit(ToolCallDelta(index, identifier, name))
        return call

    def _call_on(self, one: StreamedEvent) -> None:
        call = self._calls.get(one.output_index)
        if call is not None and one.delta:
            call.spoken = True
            self._argue(one.delta, call.index)

    # Items and the response as they end: the state that goes back, and what came in no delta.

    def _done(self, one: StreamedEvent) -> None:
        self._end_item(one.output_index, one.item)

    def _end_item(self, place: int, item: Any) -> None:  # noqa: ANN401
        item = mapping(item)
        kind = item.get("type")
        if kind == "message":
            self._end_message(place * _SPAN, item)
        elif kind == "function_call":
            self._end_call(place, item)
        elif kind == "reasoning":
            index = place * _SPAN
            if index not in self._thoughts and (words := thoughts_of(item)):
                self._thoughts[index] = ("", 0)
                self._think(words, index)
            if state := reasoning_state(item):
                self._sealed = True
                self._emit(ThinkingDelta("", index, opaque=seal(WIRE, state)))

    def _end_call(self, place: int, item: Mapping[str, Any]) -> None:
        call = self._calls.get(place)
        if call is None or (call.done and call.item != _name_of(item)):
            call = self._open(place, item)
        elif call.done:
            return
        call.done = True
        if not call.named and (name := text(item.get("name"))):
            self._emit(ToolCallDelta(call.index, name=name))
        if not call.spoken:
            self._argue(text(item.get("arguments")), call.index)
        if self._sealed and (identifier := text(item.get("id"))):
            self._emit(ToolCallDelta(call.index, opaque=_sealed({"id": identifier})))

    def _end_message(self, first: int, item: Mapping[str, Any]) -> None:
        state = {"phase": item.get("phase"), "id": item.get("id") if self._sealed else None}
        kept = {key: value for key, value in state.items() if value and isinstance(value, str)}
        for index, part in enumerate(map(mapping, sequence(item.get("content"))), first):
            refused = part.get("type") == "refusal"
            self._refusal = self._refusal or refused
            if index not in self._texts:
                self._text(index, text(part.get("refusal" if refused else "text")))
            if rest := sequence(part.get("annotations"))[self._cited.get(index, 0) :]:
                self._cite_all(index, rest)
            if kept:
                self._emit(TextDelta("", index, opaque=_sealed(kept)))

    def _close(self, one: StreamedEvent) -> None:
        self._conclude(one.type.rpartition(".")[2], mapping(one.response))

    def _conclude(self, state: str, response: Mapping[str, Any]) -> None:
        """Take the response as it was in the end. `state` is what the event calls it."""
        self.ended = True
        self._usage = usage_of(response.get("usage")) or self._usage
        self._charge(response.get("usage"), response.get("service_tier"))
        self._answered_by = text(response.get("model"))
        if not (self._texts or self._thoughts or self._calls):
            for place, item in enumerate(sequence(response.get("output"))):
                self._end_item(place, item)
        status = text(response.get("status"))
        self._state = status if status in _BAD else state
        if self._state == "incomplete":
            why = text(mapping(response.get("incomplete_details")).get("reason"))
            self._raw_reason = why or self._state
        elif self._state in {"completed", ""}:
            self._raw_reason = "completed"
        elif self._state in _BAD:
            self._fail(failures.in_stream(self._endpoint, self._model, response.get("error")))

    def _is_complete(self) -> bool:
        return bool(self._raw_reason)

    def _empty(self) -> Failure | None:
        if self._raw_reason == "content_filter":
            return failures.filtered(self._endpoint, self._model)
        return None

    def _finished(self) -> Finished:
        model = self._answered_by or self._model
        return Finished(self._stop_reason(), self._raw_reason, self._usage, model)

    def _stop_reason(self) -> StopReason:
        if self._state == "incomplete":
            return _REASONS.get(self._raw_reason, "length")
        if self._calls:
            return "tool_calls"
        return "refusal" if self._refusal else "stop"


def _name_of(item: Mapping[str, Any]) -> str:
    return text(item.get("id")) or text(item.get("call_id"))


def _sealed(kept: Mapping[str, str]) -> str:
    return seal(WIRE, to_json(kept).decode())

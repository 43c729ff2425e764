"""From the bytes of a streamed chat completion to events.

Parts have fixed places: thinking is part 0, text part 1, the tool calls follow.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from patina.model.chat import Failed, Finished, StreamEvent, TextDelta, ThinkingDelta
from patina.model.faults import Failure
from patina.model.items import StopReason
from patina.model.usage import Usage
from patina.providers import failures
from patina.providers.endpoint import Endpoint
from patina.providers.http import BODY_LIMIT
from patina.providers.openai_chat.calls import CallFolder
from patina.providers.openai_chat.chunks import Choice, Chunk, UnreadableError, decode
from patina.providers.sse import BOM, EventParser, EventTooLargeError, ServerSentEvent
from patina.providers.text import SurrogateJoiner
from patina.providers.trouble import TransportError

THINKING: Final = 0
TEXT: Final = 1
MAX_BODY: Final = 256 * 1024 * 1024
_DONE: Final = b"[DONE]"
_FIELDS: Final = (b":", b"data", b"event", b"id", b"retry")
_REASONS: Final[dict[str, StopReason]] = {
    "stop": "stop",
    "length": "length",
    "max_tokens": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
    "refusal": "refusal",
}


class ChatReader:
    """Reads one answer. Implements `converse.Reader`."""

    def __init__(self, endpoint: Endpoint, model: str) -> None:
        self._endpoint = endpoint
        self._model = model
        self._parser = EventParser()
        self._plain: bytearray | None = None  # the body of an answer that is not a stream
        self._start = b""
        self._seen = False
        self._received = 0
        self._said: list[str] = []
        self._text = SurrogateJoiner()
        self._thinking = SurrogateJoiner()
        self._calls = CallFolder(TEXT + 1)
        self._reason = ""
        self._refusal = False
        self._prompt_filtered = False
        self._usage: Usage | None = None
        self._answered_by = ""
        self._failure: Failure | None = None
        self.begun = False
        self.ended = False

    def feed(self, chunk: bytes) -> Sequence[StreamEvent]:
        """Return the deltas in `chunk`. Text of neighbouring events comes as one delta."""
        out: list[StreamEvent] = []
        self._received += len(chunk)
        if not self._start:
            self._sniff(chunk)
        bound = MAX_BODY if self._plain is None else BODY_LIMIT
        if self._received > bound:
            self._fail(failures.unreadable(self._endpoint, f"more than {bound} bytes"))
        elif self._plain is not None:
            self._plain += chunk
        else:
            try:
                for event in self._parser.feed(chunk):
                    self._take(event, out)
            except EventTooLargeError as error:
                self._fail(failures.unreadable(self._endpoint, str(error)))
            self._speak(out)
        if out:
            self.begun = True
        return out

    def finish(self) -> Sequence[StreamEvent]:
        """Return the rest of a body that ended in order, and how the answer ended."""
        out: list[StreamEvent] = []
        done = self.ended
        if self._plain is not None:
            self._take(ServerSentEvent(bytes(self._plain).removeprefix(BOM)), out)
            done = True
        elif not done:
            for event in self._parser.flush():
                self._take(event, out)
            done = self.ended
        self._speak(out)
        self.begun = self.begun or bool(out)
        return [*out, *self._end(clean=done)]

    def lose(self, error: TransportError) -> Sequence[StreamEvent]:
        """Return how an answer ended whose connection was lost."""
        end = self._end(clean=False)
        if isinstance(end[-1], Failed) and self._failure is None and error.kind != "cut":
            return [
                *end[:-1],
                Failed(failures.lost(self._endpoint, self._model, error), self._usage),
            ]
        return end

    def _sniff(self, chunk: bytes) -> None:
        """A body that begins like an object is no event stream; one like a page is no answer."""
        start = self._start = chunk.removeprefix(BOM).lstrip()[:80]
        if start.startswith(b"{"):
            self._plain = bytearray()
        elif start.startswith(b"<"):
            self._fail(failures.unreadable(self._endpoint, "a web page"))

    def _take(self, event: ServerSentEvent, out: list[StreamEvent]) -> None:
        data = event.data
        if self.ended:
            return
        self._seen = True
        if data == _DONE:
            self.ended = True
            return
        if event.event == "error":
            self._fail(failures.complained(self._endpoint, self._model, data))
            return
        try:
            chunk = decode(data)
        except UnreadableError:
            self._fail(failures.unreadable(self._endpoint, _beginning(data)))
            return
        if chunk.choices:
            for choice in chunk.choices:
                if choice.index == 0:
                    self._choose(choice, out)
        if chunk.usage is not None:
            self._usage = usage_of(chunk.usage) or self._usage
        if not self._answered_by and chunk.model:
            self._answered_by = chunk.model
        if chunk.error or chunk.prompt_filter_results:
            self._notice(chunk)

    def _notice(self, chunk: Chunk) -> None:
        if chunk.error:
            self._fail(failures.in_stream(self._endpoint, self._model, chunk.error))
        if _is_filtered(chunk.prompt_filter_results):
            self._prompt_filtered = True

    def _choose(self, choice: Choice, out: list[StreamEvent]) -> None:
        delta = choice.delta or choice.message
        if delta is not None:
            if delta.reasoning_content or delta.reasoning:
                self._think(delta.reasoning_content or delta.reasoning or "", out)
            if delta.content:
                self._say(delta.content)
            if delta.refusal:
                self._refusal = True
                self._say(delta.refusal)
            if delta.tool_calls:
                self._speak(out)
                for call in delta.tool_calls:
                    out.extend(self._calls.feed(call))
        if choice.finish_reason and not self._reason:
            self._reason = choice.finish_reason

    def _say(self, text: str) -> None:
        if self._text.held or not text.isascii():
            text = self._text.feed(text)
        self._said.append(text)

    def _speak(self, out: list[StreamEvent]) -> None:
        """Give out what was said since the last time, as one delta."""
        if self._said:
            text = "".join(self._said)
            self._said.clear()
            if text:
                out.append(TextDelta(text, TEXT))

    def _think(self, text: str, out: list[StreamEvent]) -> None:
        self._speak(out)
        if thought := self._thinking.feed(text):
            out.append(ThinkingDelta(thought, THINKING))

    def _fail(self, failure: Failure) -> None:
        self.ended = True
        if self._failure is None:
            self._failure = failure

    def _end(self, *, clean: bool) -> list[StreamEvent]:
        """Return held-back halves and the terminal event. `clean`: the protocol's end was seen."""
        out: list[StreamEvent] = []
        if thought := self._thinking.flush():
            out.append(ThinkingDelta(thought, THINKING))
        self._said.append(self._text.flush())
        self._speak(out)
        out.extend(self._calls.flush())
        self.begun = self.begun or bool(out)
        failure = self._failure or self._missing(clean=clean)
        if failure is None:
            model = self._answered_by or self._model
            out.append(Finished(self._stop_reason(), self._reason, self._usage, model))
        else:
            out.append(Failed(failure, self._usage))
        return out

    def _missing(self, *, clean: bool) -> Failure | None:
        """Return the failure of an answer without an end of its own, or without anything."""
        filtered = self._prompt_filtered or self._reason == "content_filter"
        done = clean or self.ended
        silent_azure = self._endpoint.kind == "azure_openai" and done and not self._reason
        if not self.begun and (filtered or silent_azure):
            # Azure answers a filtered prompt with an empty stream that ends well.
            return failures.filtered(self._endpoint, self._model)
        if not self._reason and not self.begun and not self._looked_right():
            return failures.unreadable(self._endpoint, _beginning(self._start))
        if not self._reason:
            return failures.cut(self._endpoint, self._model)
        if self._reason == "error":
            return failures.in_stream(self._endpoint, self._model, None)
        return None

    def _looked_right(self) -> bool:
        """Whether the body was an event stream, or nothing at all."""
        if self._plain is not None:
            return False
        return self._seen or not self._start or self._start.startswith(_FIELDS)

    def _stop_reason(self) -> StopReason:
        reason = _REASONS.get(self._reason, "stop")
        if reason == "stop" and self._calls:
            return "tool_calls"  # some servers say "stop" although they call tools
        return "refusal" if reason == "stop" and self._refusal else reason


def usage_of(plain: Any) -> Usage | None:  # noqa: ANN401 - whatever a server sends
    """Return the tokens of a `usage` object; None where it names none.

    Field names: OpenAI API reference, "CompletionUsage".
    """
    if not isinstance(plain, Mapping):
        return None
    read = _count(_mapping(plain, "prompt_tokens_details"), "cached_tokens")
    reasoning = _count(_mapping(plain, "completion_tokens_details"), "reasoning_tokens")
    sent, received = _count(plain, "prompt_tokens"), _count(plain, "completion_tokens")
    if not sent and not received:
        return None
    return Usage(sent, received, min(read, sent), 0, min(reasoning, received))


def _beginning(data: bytes) -> str:
    return f"it begins {data[:80].decode(errors='replace')!r}"


def _mapping(plain: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = plain.get(key)
    return value if isinstance(value, Mapping) else {}


def _count(plain: Mapping[str, Any], key: str) -> int:
    value = plain.get(key)
    if isinstance(value, float) and value.is_integer() and value < 2**53:
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        return 0
    return value if 0 <= value < 2**53 else 0


def _is_filtered(results: Any) -> bool:  # noqa: ANN401
    """Whether an Azure `prompt_filter_results` says that something was filtered."""
    if isinstance(results, Mapping):
        return results.get("filtered") is True or any(map(_is_filtered, results.values()))
    return isinstance(results, list) and any(map(_is_filtered, results))

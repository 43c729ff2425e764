"""From the bytes of a streamed chat completion to events.

Parts have fixed places: thinking is part 0, text part 1, the tool calls follow.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from patina.model.chat import Finished, TextDelta, ThinkingDelta
from patina.model.faults import Failure
from patina.model.items import StopReason
from patina.model.parts import Citation
from patina.model.sse import ServerSentEvent
from patina.providers import failures
from patina.providers.endpoint import Endpoint
from patina.providers.lenient import UnreadableError, mapping, sequence, text
from patina.providers.openai_chat.calls import CallFolder
from patina.providers.openai_chat.chunks import CallDelta, Choice, Chunk, decode
from patina.providers.openai_chat.citations import citations_of
from patina.providers.openai_chat.thinking import Details
from patina.providers.openai_chat.usage import usage_of
from patina.providers.reading import StreamReader, beginning

THINKING: Final = 0
TEXT: Final = 1
_DONE: Final = b"[DONE]"
_REASONS: Final[dict[str, StopReason]] = {
    "stop": "stop",
    "length": "length",
    "max_tokens": "length",
    "model_length": "length",  # Mistral
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
    "refusal": "refusal",
}
# Finish reasons that are failures, and what an endpoint that says no more means by them.
_FAILED: Final[dict[str, dict[str, str] | None]] = {
    "error": None,  # OpenRouter, Mistral
    "abort": None,  # vLLM, where the request was dropped
    "insufficient_system_resource": {"code": "overloaded"},  # DeepSeek
}


class ChatReader(StreamReader):
    """Reads one answer. Implements `converse.Reader`."""

    plain = (b"{",)

    def __init__(self, endpoint: Endpoint, model: str) -> None:
        super().__init__(endpoint, model)
        self._calls = CallFolder(TEXT + 1)
        self._details = Details()
        self._cited: set[Citation] = set()
        self._reason = ""
        self._refusal = False
        self._prompt_filtered = False

    def _take(self, event: ServerSentEvent) -> None:
        data = event.data
        if data == _DONE:
            self.ended = True
            self._seal()
            return
        if event.event == "error":
            self._fail(failures.complained(self._endpoint, self._model, data))
            return
        try:
            chunk = decode(data)
        except UnreadableError:
            self._fail(failures.unreadable(self._endpoint, beginning(data)))
            return
        if chunk.choices:
            for choice in chunk.choices:
                if choice.index == 0:
                    self._choose(choice)
        if chunk.usage is not None:
            self._usage = usage_of(chunk.usage, chunk.timings) or self._usage
            self._charge(chunk.usage)
        if not self._answered_by and chunk.model:
            self._answered_by = chunk.model
        if chunk.service_tier:
            self._charge(None, chunk.service_tier)
        if chunk.error or chunk.prompt_filter_results or chunk.x_groq or chunk.citations:
            self._notice(chunk)

    def _notice(self, chunk: Chunk) -> None:
        groq = mapping(chunk.x_groq)
        if error := chunk.error or groq.get("error"):
            self._fail(failures.in_stream(self._endpoint, self._model, error))
        if _is_filtered(chunk.prompt_filter_results):
            self._prompt_filtered = True
        self._usage = usage_of(groq.get("usage")) or self._usage
        self._cite([one for one in sequence(chunk.citations) if isinstance(one, str)])

    def _choose(self, choice: Choice) -> None:
        delta = choice.delta or choice.message
        if delta is not None:
            if delta.reasoning_content or delta.reasoning or delta.reasoning_details:
                words = delta.reasoning_content or delta.reasoning or ""
                if delta.reasoning_details:
                    read = self._details.feed(delta.reasoning_details)
                    words = words or read
                self._think(words, THINKING)
            if delta.content:
                if isinstance(delta.content, str):
                    self._say(delta.content, TEXT)
                else:
                    self._part_by_part(delta.content)
            if delta.refusal:
                self._refusal = True
                self._say(delta.refusal, TEXT)
            if delta.annotations:
                self._cite(delta.annotations)
            if delta.tool_calls:
                self._call(delta.tool_calls)
        if choice.finish_reason and not self._reason:
            self._reason = choice.finish_reason
            self._seal()
        if choice.error:
            self._fail(failures.in_stream(self._endpoint, self._model, choice.error))
        if choice.usage is not None:
            self._usage = usage_of(choice.usage) or self._usage
            self._charge(choice.usage)

    def _call(self, calls: Sequence[CallDelta]) -> None:
        for call in calls:
            for piece in self._calls.feed(call):
                if piece.id or piece.name:
                    self._emit(piece)
                else:
                    self._argue(piece.arguments, piece.index)

    def _part_by_part(self, parts: Sequence[Any]) -> None:
        """Content as a list: words, Mistral's thinking, and references."""
        for part in map(mapping, parts):
            kind = part.get("type")
            if kind == "thinking":
                inner = part.get("thinking")
                words = [text(mapping(one).get("text")) for one in sequence(inner)]
                self._think(text(inner) or "".join(words), THINKING)
            elif kind == "tool_reference":
                self._cite([part])
            else:
                self._say(text(part.get("text")), TEXT)

    def _cite(self, annotations: Sequence[Any]) -> None:
        """Give out sources; some endpoints repeat them with every event."""
        new = tuple(one for one in citations_of(annotations) if one not in self._cited)
        if new:
            self._cited.update(new)
            self._emit(TextDelta("", TEXT, new))

    def _seal(self) -> None:
        """Give out what has to go back verbatim, once all of it is there."""
        if self._details.changed:
            self._emit(ThinkingDelta("", THINKING, opaque=self._details.sealed()))

    def _is_complete(self) -> bool:
        return bool(self._reason) and self._reason not in _FAILED

    def _empty(self) -> Failure | None:
        # Azure answers a filtered prompt with an empty stream that ends well.
        filtered = self._prompt_filtered or self._reason == "content_filter"
        silent_azure = self._endpoint.kind == "azure_openai" and self.ended and not self._reason
        if filtered or silent_azure:
            return failures.filtered(self._endpoint, self._model)
        return None

    def _missing(self, *, clean: bool) -> Failure | None:
        if self._reason in _FAILED and not self._failure:
            return failures.in_stream(self._endpoint, self._model, _FAILED[self._reason])
        return super()._missing(clean=clean)

    def _finished(self) -> Finished:
        model = self._answered_by or self._model
        return Finished(self._stop_reason(), self._reason, self._usage, model)

    def _stop_reason(self) -> StopReason:
        reason = _REASONS.get(self._reason, "stop")
        if reason == "stop" and self._calls:
            return "tool_calls"  # some servers say "stop" although they call tools
        return "refusal" if reason == "stop" and self._refusal else reason


def _is_filtered(results: Any) -> bool:  # noqa: ANN401
    """Whether an Azure `prompt_filter_results` says that something was filtered."""
    if isinstance(results, Mapping):
        return results.get("filtered") is True or any(map(_is_filtered, results.values()))
    return isinstance(results, list) and any(map(_is_filtered, results))

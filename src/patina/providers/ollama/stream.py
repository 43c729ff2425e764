"""From the bytes of a streamed chat answer to events.

Parts have fixed places: thinking is part 0, text part 1, the tool calls follow.
"""

from typing import Final

from patina.model.chat import Finished, ThinkingDelta, ToolCallDelta
from patina.model.faults import Failure
from patina.model.items import StopReason
from patina.model.parts import well_formed
from patina.model.sse import ServerSentEvent
from patina.model.usage import Usage
from patina.providers import failures
from patina.providers.endpoint import Endpoint
from patina.providers.lenient import UnreadableError, count
from patina.providers.lines import LineParser
from patina.providers.ollama.chunks import Call, Line, Message, arguments_of, decode
from patina.providers.reading import StreamReader, beginning
from patina.providers.seal import seal

WIRE: Final = "ollama"
THINKING: Final = 0
TEXT: Final = 1
_NO_ANSWER: Final = frozenset({"load", "unload"})  # reasons of a model that was only (un)loaded


class OllamaReader(StreamReader):
    """Reads one answer. Implements `converse.Reader`.

    `asked` is the name of the model in the request: thinking is marked with it.
    """

    plain = ()  # an answer that was not streamed is one line like any other
    fields = (b"{",)

    def __init__(self, endpoint: Endpoint, model: str, asked: str) -> None:
        super().__init__(endpoint, model, LineParser())
        self._mark = seal(WIRE, asked)
        self._thinks = False
        self._calls = 0
        self._reason = ""

    def _take(self, event: ServerSentEvent) -> None:
        try:
            line = decode(event.data)
        except UnreadableError:
            self._fail(failures.unreadable(self._endpoint, beginning(event.data)))
            return
        message = line.message
        if message is not None:
            if message.thinking or message.tool_calls:
                self._notice(message)
            if message.content:
                self._say(message.content, TEXT)
        if line.error:
            self._fail(failures.in_stream(self._endpoint, self._model, line.error))
        elif line.done:
            self._end_with(line)

    def _notice(self, message: Message) -> None:
        if message.thinking:
            if not self._thinks:
                self._thinks = True
                self._emit(ThinkingDelta("", THINKING, opaque=self._mark))
            self._think(message.thinking, THINKING)
        for call in message.tool_calls or ():
            self._call(call)

    def _call(self, call: Call) -> None:
        if call.function is None or not call.function.name:
            return
        identifier = self._call_id(well_formed(call.id or ""))
        self._calls += 1
        name, arguments = call.function.name, arguments_of(call.function)
        self._emit(
            ToolCallDelta(TEXT + self._calls, identifier, well_formed(name), well_formed(arguments))
        )

    def _end_with(self, line: Line) -> None:
        self.ended = True
        self._reason = well_formed(line.done_reason or "")
        self._answered_by = well_formed(line.model or "")
        if line.prompt_eval_count is not None or line.eval_count is not None:
            self._usage = Usage(count(line.prompt_eval_count), count(line.eval_count))

    def _is_complete(self) -> bool:
        return self.ended

    def _empty(self) -> Failure | None:
        if self._reason not in _NO_ANSWER:
            return None
        return Failure(
            "server",
            f"{self._endpoint.label} loaded {self._model} and gave no answer.",
            "Ask again.",
        )

    def _finished(self) -> Finished:
        reason: StopReason = "length" if self._reason == "length" else "stop"
        if self._calls:
            reason = "tool_calls"
        return Finished(reason, self._reason, self._usage, self._answered_by or self._model)

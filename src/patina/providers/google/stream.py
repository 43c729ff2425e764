"""From the bytes of a Gemini answer to events.

Parts are numbered as they come: pieces of the same kind are one part, a change of kind or a
signature begins the next. A call comes whole.
"""

import re
from collections.abc import Mapping
from typing import Final, Literal

from msgspec.structs import replace

from patina.model.chat import Finished, StreamEvent, TextDelta, ThinkingDelta, ToolCallDelta
from patina.model.faults import Failure
from patina.model.items import StopReason
from patina.model.parts import Citation
from patina.model.sse import ServerSentEvent
from patina.model.usage import Usage
from patina.providers import failures
from patina.providers.endpoint import Endpoint
from patina.providers.google.chunks import (
    Call,
    Candidate,
    Chunk,
    Counts,
    Part,
    decode,
    decode_list,
)
from patina.providers.google.citations import grounds, recited
from patina.providers.google.events import GoogleEvents
from patina.providers.google.signatures import UNSIGNED, Signed
from patina.providers.lenient import UnreadableError, count, mapping, text
from patina.providers.reading import StreamReader, beginning

_REASONS: Final[dict[str, StopReason]] = {
    "stop": "stop",
    "max_tokens": "length",
    "continuation": "length",  # there would be more, in another request
    "function_call": "tool_calls",  # no word of the API's; aimock has it
    "safety": "content_filter",
    "recitation": "content_filter",
    "language": "content_filter",
    "blocklist": "content_filter",
    "prohibited_content": "content_filter",
    "spii": "content_filter",
    "image_safety": "content_filter",
    "image_prohibited_content": "content_filter",
    "image_recitation": "content_filter",
    "model_armor": "content_filter",
    "escalation": "content_filter",
    "pup_limited_disabled": "content_filter",
}
# With these an answer is not one, whatever came before: what the model wanted cannot be known.
_BROKEN: Final = frozenset(
    {
        "malformed_function_call",
        "unexpected_tool_call",
        "too_many_tool_calls",
        "malformed_response",
        "missing_thought_signature",
    }
)
# The beginning of names of services, such as ON_DEMAND_FLEX.
_PREFIX: Final = re.compile("^(?:traffic_type_|service_tier_|on_demand_)")
_UNSAID: Final = frozenset({"finish_reason_unspecified", "block_reason_unspecified"})
Kind = Literal["", "text", "thinking", "call"]


class GoogleReader(StreamReader):
    """Reads one answer. Implements `converse.Reader`.

    `names` are the tools by their names on the wire. An answer that ends with a call that the
    endpoint itself could not read fails as "unreadable": it is paid for, so nobody but the user
    sends it again.
    """

    def __init__(self, endpoint: Endpoint, model: str, names: Mapping[str, str]) -> None:
        super().__init__(endpoint, model, GoogleEvents())
        self._names = names
        self._kind: Kind = ""
        self._index = -1
        self._signed = UNSIGNED
        self._counts: Counts | None = None
        self._bare_call = False  # the last part is a call without arguments so far
        self._texts: list[int] = []  # the places of the text parts
        self._said: list[str] = []
        self._cited: set[Citation] = set()
        self._raw = self._reason = ""  # the word as it came, and in small letters
        self._why = ""

    def _take(self, event: ServerSentEvent) -> None:
        data = event.data
        try:
            chunks = decode_list(data) if data[:1] == b"[" else (decode(data),)
        except UnreadableError:
            self._fail(failures.unreadable(self._endpoint, beginning(data)))
            return
        for chunk in chunks:
            self._read(chunk)
            if self.ended:
                return

    def _read(self, chunk: Chunk) -> None:
        if chunk.usage_metadata is not None:
            counts = chunk.usage_metadata
            if counts.prompt_token_count or counts.candidates_token_count:
                self._counts = counts  # those of the whole answer so far
        if chunk.candidates:
            for candidate in chunk.candidates:
                if not candidate.index:
                    self._choose(candidate)
        if not self._answered_by and chunk.model_version:
            self._answered_by = chunk.model_version
        if chunk.error or chunk.prompt_feedback:
            self._notice(chunk)

    def _notice(self, chunk: Chunk) -> None:
        if chunk.error:
            self._fail(failures.in_stream(self._endpoint, self._model, chunk.error))
        reason = text(mapping(chunk.prompt_feedback).get("blockReason"))
        if reason and reason.lower() not in _UNSAID:
            self._fail(failures.filtered(self._endpoint, self._model))

    def _choose(self, candidate: Candidate) -> None:
        if candidate.content is not None and candidate.content.parts:
            for part in candidate.content.parts:
                if (
                    part.text
                    and self._kind == "text"
                    and not part.thought
                    and part.thought_signature is None
                    and part.function_call is None
                    and self._signed is UNSIGNED
                ):  # nearly all: the short way
                    self._said.append(part.text)
                    self._say(part.text, self._index)
                else:
                    self._add_part(part)
        if candidate.finish_reason and not self._reason:
            self._finish(candidate.finish_reason, candidate.finish_message or "")
        if candidate.grounding_metadata or candidate.citation_metadata:
            self._cite(candidate)

    def _finish(self, reason: str, why: str) -> None:
        word = reason.lower()
        if word in _UNSAID:
            return
        self._complete_call()
        self._raw, self._reason, self._why = reason, word, why
        if word in _BROKEN:
            self._fail(self._broken())

    def _add_part(self, part: Part) -> None:
        end = 0
        if part.function_call is not None:
            self._call(part.function_call)
        elif part.text:
            kind: Kind = "thinking" if part.thought else "text"
            if kind != self._kind or self._signed:
                self._begin(kind)
            else:
                end = len(part.text)
            self._tell(part.text)
        elif part.thought_signature:
            # On an empty part it belongs to what came before, but goes back apart from it.
            if not self._kind:
                self._begin("text")
            self._seal(replace(self._signed, after=part.thought_signature))
            return
        elif part.inline_data:
            self._begin("text")
            media_type = text(mapping(part.inline_data).get("mimeType")) or "data"
            self._tell(f"[{media_type}: the model sent data, which is not kept]")
            return  # a signature of what is not kept is of no use
        if part.thought_signature:
            self._seal(Signed(part.thought_signature, end))

    def _tell(self, piece: str) -> None:
        if self._kind == "thinking":
            self._think(piece, self._index)
        else:
            self._said.append(piece)
            self._say(piece, self._index)

    def _begin(self, kind: Kind) -> None:
        self._complete_call()
        self._index += 1
        self._kind = kind
        self._signed = UNSIGNED
        if kind == "text":
            self._texts.append(self._index)

    def _call(self, call: Call) -> None:
        """A call comes whole, but for servers that send the arguments in a call without a name."""
        args = bytes(call.args).decode(errors="replace")
        args = "" if args == "null" else args
        if not call.name:
            if self._bare_call and args:
                self._bare_call = False
                self._argue(args, self._index)
            return
        self._begin("call")
        identifier = self._call_id(call.id or "")
        name = self._names.get(call.name, call.name)
        self._bare_call = args in {"", "{}"}
        given = "" if self._bare_call else args
        self._emit(ToolCallDelta(self._index, identifier, name, given))

    def _complete_call(self) -> None:
        if self._bare_call:
            self._bare_call = False
            self._argue("{}", self._index)

    def _seal(self, signed: Signed) -> None:
        self._signed = signed
        opaque = signed.sealed()
        if self._kind == "call":
            self._emit(ToolCallDelta(self._index, opaque=opaque))
        elif self._kind == "thinking":
            self._emit(ThinkingDelta("", self._index, opaque=opaque))
        else:
            self._emit(TextDelta("", self._index, opaque=opaque))

    def _cite(self, candidate: Candidate) -> None:
        if not self._texts:
            return
        said = "".join(self._said).encode(errors="replace") if len(self._texts) == 1 else None
        fresh: list[Citation] = []
        for one in (
            *grounds(candidate.grounding_metadata, said),
            *recited(candidate.citation_metadata, said),
        ):
            if one not in self._cited:
                self._cited.add(one)
                fresh.append(one)
        if fresh:
            self._emit(TextDelta("", self._texts[-1], tuple(fresh)))

    def _end(self, *, clean: bool) -> list[StreamEvent]:
        if self._counts is not None:
            self._usage = usage_of(self._counts)
            tier = text(self._counts.service_tier) or text(self._counts.traffic_type)
            self._charge(None, _PREFIX.sub("", tier.lower()))
        return super()._end(clean=clean)

    def _is_complete(self) -> bool:
        return bool(self._reason)

    def _empty(self) -> Failure | None:
        if _REASONS.get(self._reason) == "content_filter":
            return failures.filtered(self._endpoint, self._model)
        return self._broken() if self._reason and self._reason not in _REASONS else None

    def _broken(self) -> Failure:
        """The failure of an answer that the endpoint itself gave up."""
        name, words = self._endpoint.label, self._endpoint.words
        why = f"{self._raw}: {self._why}" if self._why else self._raw
        return Failure(
            "server",
            f"{name} ended the answer of {self._model} without a usable result ({words(why)}).",
            "Ask again, in other words if it stays so, or choose another model with -m.",
            code=failures.UNREADABLE,
        )

    def _finished(self) -> Finished:
        reason = _REASONS.get(self._reason, "stop")
        if reason == "stop" and self._ids:
            reason = "tool_calls"  # the API says STOP
        return Finished(reason, self._raw, self._usage, self._answered_by or self._model)


def usage_of(counts: Counts) -> Usage | None:
    """Return the tokens of `counts`; None where they name none.

    Results of the endpoint's own tools are input, thoughts are output.
    """
    prompt = count(counts.prompt_token_count) + count(counts.tool_use_prompt_token_count)
    thoughts = count(counts.thoughts_token_count)
    answer = count(counts.candidates_token_count) + thoughts
    if not prompt and not answer:
        return None
    cached = min(count(counts.cached_content_token_count), prompt)
    return Usage(prompt, answer, cached, 0, thoughts)

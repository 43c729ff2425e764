"""From the history to the body of a request for a response.

Field names: OpenAI API reference, "Create a model response". Nothing is stored at the provider:
what it wants to see again goes back with every request.
"""

import re
from base64 import b64encode
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from msgspec import Struct

from patina.model.chat import ChatMessage, ChatRequest, ToolAnswer
from patina.model.options import Effort
from patina.model.parts import File, Image, Part, ResultPart, Text, Thinking, ToolCall
from patina.providers.history import answer_text, arguments_text, legal_ids, to_json, visible
from patina.providers.lenient import UnreadableError, decode_json, mapping
from patina.providers.openai_responses.events import WIRE
from patina.providers.seal import unseal

Body = dict[str, Any]
_STATE: Final = ("id", "phase")
MOST_OUTPUT: Final = 128_000
"""Tokens that any of OpenAI's models writes at most, by its pages on models (November 2026)."""
EFFORTS: Final[tuple[Effort, ...]] = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
# Families of OpenAI's models, for where nothing else is known of a model.
_REASON: Final = re.compile(r"(?:o\d|gpt-[5-9])(?!.*-chat)")
_DO_NOT_REASON: Final = re.compile(r"gpt-[34]|chatgpt|gpt-5[.\d]*-chat")


class Limits(Struct, frozen=True):
    """What a model was found to refuse.

    `without` are the fields that are left out; `efforts` the efforts it takes, if it said so;
    `least` and `most` what it takes as `max_output_tokens`.
    """

    without: frozenset[str] = frozenset()
    efforts: tuple[Effort, ...] = ()
    least: int | None = None
    most: int | None = None


UNLIMITED: Final = Limits()


def encode_body(
    request: ChatRequest,
    limits: Limits = UNLIMITED,
    refused: Collection[str] = (),
    *,
    tier: str = "",
) -> bytes:
    """Return the JSON body of `request`, streamed and not stored.

    `refused` are the ids of reasoning items that do not go back; `tier` is the service that is
    asked for, "" for what the endpoint sees fit.
    """
    body: Body = {
        "model": request.model,
        "input": input_of(request, refused),
        "stream": True,
        "store": False,
    }
    without = limits.without
    if tier:
        body["service_tier"] = tier
    if request.system:
        body["instructions"] = request.system
    if "max_output_tokens" not in without:
        body["max_output_tokens"] = bounded(request.max_tokens, limits)
    if request.temperature is not None and "temperature" not in without:
        body["temperature"] = request.temperature
    reasons = _reasons(request)
    if reasons is not False and "include" not in without:
        body["include"] = ["reasoning.encrypted_content"]
    if reasoning := _reasoning(request, limits, reasons=reasons):
        body["reasoning"] = reasoning
    if request.tools:
        body["tools"] = [
            {
                "type": "function",
                "name": tool.name,
                "description": tool.description,
                "parameters": tool.schema or {"type": "object", "properties": {}},
                "strict": False,
            }
            for tool in request.tools
        ]
    if request.schema is not None:
        answer = {"type": "json_schema", "name": "answer", "schema": request.schema}
        body["text"] = {"format": {**answer, "strict": False}}
    return to_json(body)


def bounded(tokens: int, limits: Limits) -> int:
    """Return `tokens` as a model takes them for `max_output_tokens`."""
    if limits.most is not None:
        tokens = min(tokens, limits.most)
    return max(tokens, limits.least or 0)


def _reasons(request: ChatRequest) -> bool | None:
    """Whether the model is known to reason, or known not to."""
    if request.info is not None and request.info.thinking is not None:
        return request.info.thinking
    name = request.model.rpartition("/")[2]
    if _DO_NOT_REASON.match(name):
        return False
    return True if _REASON.match(name) else None


def _reasoning(request: ChatRequest, limits: Limits, *, reasons: bool | None) -> Body:
    """The effort that was asked for, or the nearest there is; a summary where it reasons."""
    effort, body = request.effort, Body()
    if effort is not None and "effort" not in limits.without:
        if limits.efforts and effort not in limits.efforts:
            wanted = EFFORTS.index(effort)
            effort = min(limits.efforts, key=lambda one: abs(EFFORTS.index(one) - wanted))
        body["effort"] = effort
    used = reasons is True if effort is None else effort != "none" and reasons is not False
    if used and "summary" not in limits.without:
        body["summary"] = "auto"
    return body


def input_of(request: ChatRequest, refused: Collection[str] = ()) -> list[Body]:
    """Return the `input` items of `request`."""
    out: list[Body] = []
    for message in legal_ids(request.messages):
        if message.role == "user":
            out.append({"role": "user", "content": _content(message.parts, request)})
        elif message.role == "assistant":
            out.extend(_assistant(message, request, refused))
        else:
            out.extend(_output(answer, request) for answer in message.answers)
    return out


def _assistant(message: ChatMessage, request: ChatRequest, refused: Collection[str]) -> list[Body]:
    """The items of an answer: reasoning, texts and calls in their order.

    Reasoning goes back to the model that did it, and with it the ids of what followed: the API
    pairs them, and refuses an item with an id whose reasoning is missing.
    """
    out: list[Body] = []
    paired = False
    for part in message.parts:
        if isinstance(part, Thinking):
            item = _reasoning_item(part, message, request, refused)
            paired = bool(item)
            out += [item] if item else []
        elif isinstance(part, Text) and part.text:
            state = _state(part.opaque)
            _add_text(out, part.text, {k: state[k] for k in _kept(state, paired=paired)})
        elif isinstance(part, ToolCall):
            state = _state(part.opaque)
            out.append(
                {
                    "type": "function_call",
                    **({"id": state["id"]} if "id" in _kept(state, paired=paired) else {}),
                    "call_id": part.id,
                    "name": part.name,
                    "arguments": arguments_text(part.arguments),
                }
            )
    while out and out[-1]["type"] == "reasoning":
        out.pop()  # refused without the item that it led to, as in an answer that was cut
    return out


def _add_text(out: list[Body], words: str, state: Body) -> None:
    """Add a text to the message that it was in, or as a message of its own."""
    content = {"type": "output_text", "text": words, "annotations": []}
    last = out[-1] if out else {}
    if last.get("type") == "message" and all(last.get(k) == state.get(k) for k in _STATE):
        last["content"].append(content)
        return
    message: Body = {"type": "message", "role": "assistant", "content": [content], **state}
    if "id" in state:
        message["status"] = "completed"
    out.append(message)


def _kept(state: Mapping[str, Any], *, paired: bool) -> list[str]:
    """The fields of a sealed state that may go back."""
    fields = _STATE if paired else ("phase",)
    return [field for field in fields if isinstance(state.get(field), str)]


def _reasoning_item(
    part: Thinking, message: ChatMessage, request: ChatRequest, refused: Collection[str]
) -> Body | None:
    """The item as it came, if it is this model's; another one refuses it or leaves it unread."""
    item = _state(part.opaque)
    if item.get("type") != "reasoning" or item.get("id") in refused:
        return None
    return None if message.model and message.model != request.model else dict(item)


def reasoning_ids(messages: Sequence[ChatMessage]) -> set[str]:
    """Return the ids of all reasoning items in `messages`."""
    states = (_state(p.opaque) for m in messages for p in m.parts if isinstance(p, Thinking))
    return {state["id"] for state in states if isinstance(state.get("id"), str)}


def _state(opaque: str | None) -> Mapping[str, Any]:
    """What was sealed here, if anything."""
    sealed = unseal(WIRE, opaque)
    if sealed is None:
        return {}
    try:
        return mapping(decode_json(sealed.encode(errors="replace")))
    except UnreadableError:
        return {}


def _output(answer: ToolAnswer, request: ChatRequest) -> Body:
    """A tool's answer: words as a string, and a list where there are images or files."""
    seen = visible(answer.parts, request)
    output: Any = answer_text(answer, seen)
    if any(not isinstance(part, Text) for part in seen):
        output = _parts([part for part in seen if not isinstance(part, Text) or part.text], request)
    return {"type": "function_call_output", "call_id": answer.call_id, "output": output}


def _content(parts: Sequence[Part] | Sequence[ResultPart], request: ChatRequest) -> Any:  # noqa: ANN401
    """Text as a plain string, which every server takes; else a list of content parts."""
    seen = visible(parts, request)
    if not seen:
        return ""
    if len(seen) == 1 and isinstance(seen[0], Text):
        return seen[0].text
    return _parts(seen, request)


def _parts(parts: Sequence[Text | Image | File], request: ChatRequest) -> list[Body]:
    return [_part(part, request.blobs) for part in parts]


def _part(part: Text | Image | File, blobs: Mapping[str, bytes]) -> Body:
    if isinstance(part, Text):
        return {"type": "input_text", "text": part.text}
    uri = f"data:{part.media_type};base64,{b64encode(blobs[part.blob]).decode()}"
    if isinstance(part, Image):
        return {"type": "input_image", "image_url": uri, "detail": "auto"}
    return {"type": "input_file", "filename": part.name or "document.pdf", "file_data": uri}

"""From the history to the body of a chat completion request.

Field names: OpenAI API reference, "Create chat completion".
"""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

import msgspec
from msgspec import Struct

from patina.model.chat import ChatMessage, ChatRequest, ToolAnswer
from patina.model.items import CallStatus
from patina.model.parts import File, Image, Part, Text, ToolCall, text_of

Body = dict[str, Any]
_SILENT: Final[dict[CallStatus, str]] = {
    "completed": "The tool returned nothing.",
    "failed": "The tool failed and said nothing.",
    "denied": "The user did not allow this tool call.",
    "timed_out": "The tool did not answer in time.",
    "interrupted": "The tool call was interrupted.",
}


class Dialect(Struct, frozen=True):
    """Where endpoints differ. `max_tokens` is the name of that field; `usage` asks for usage."""

    max_tokens: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    usage: bool = True


def encode_body(request: ChatRequest, dialect: Dialect) -> bytes:
    """Return the JSON body of `request`, streamed."""
    body: Body = {
        "model": request.model,
        "messages": messages_of(request),
        "stream": True,
        dialect.max_tokens: request.max_tokens,
    }
    if dialect.usage:
        body["stream_options"] = {"include_usage": True}
    if request.temperature is not None:
        body["temperature"] = request.temperature
    if request.effort is not None:
        body["reasoning_effort"] = request.effort
    if request.tools:
        body["tools"] = [
            {
                "type": "function",
                "function": {
                    "name": tool.name,
                    "description": tool.description,
                    "parameters": tool.schema or {"type": "object", "properties": {}},
                },
            }
            for tool in request.tools
        ]
    try:
        return msgspec.json.encode(body)
    except UnicodeEncodeError:  # a lone surrogate somewhere: JSON over UTF-8 cannot carry it
        import json

        return json.dumps(body, ensure_ascii=False).encode(errors="replace")


def messages_of(request: ChatRequest) -> list[Body]:
    """Return the `messages` of `request`."""
    out: list[Body] = []
    if request.system:
        out.append({"role": "system", "content": request.system})
    for message in request.messages:
        if message.role == "user":
            out.append({"role": "user", "content": _content(message.parts, request.blobs)})
        elif message.role == "assistant":
            out.extend(_assistant(message))
        else:
            out.extend(_answers(message.answers, request.blobs))
    return out


def _assistant(message: ChatMessage) -> list[Body]:
    """The message with its calls. Thinking does not go back in this protocol."""
    if len(message.parts) == 1 and type(message.parts[0]) is Text:  # nearly all: the short way
        text = message.parts[0].text
        return [{"role": "assistant", "content": text}] if text else []
    text = text_of(message.parts)
    calls = [
        {
            "id": part.id,
            "type": "function",
            "function": {"name": part.name, "arguments": _arguments(part.arguments)},
        }
        for part in message.parts
        if isinstance(part, ToolCall)
    ]
    if not text and not calls:
        return []  # endpoints refuse a message of nothing
    body: Body = {"role": "assistant", "content": text or None}
    if calls:
        body["tool_calls"] = calls
    return [body]


def _arguments(text: str) -> str:
    """Arguments as a JSON object: several servers refuse a history with anything else."""
    text = text.encode(errors="replace").decode()
    if not text.strip():
        return "{}"
    try:
        if isinstance(msgspec.json.decode(text), dict):
            return text
    except (msgspec.MsgspecError, RecursionError):
        pass
    return msgspec.json.encode({"invalid_arguments": text}).decode()


def _answers(answers: Sequence[ToolAnswer], blobs: Mapping[str, bytes]) -> list[Body]:
    """One message per answer. Their pictures follow in a user message, as role "tool" is text."""
    out: list[Body] = []
    attached: list[Part] = []
    for answer in answers:
        lines: list[str] = []
        for part in answer.parts:
            if isinstance(part, Text):
                lines.append(part.text)
            else:
                lines.append(f"[{_named(part)}: see the next user message]")
                attached += [Text(f"{_named(part)}, from tool call {answer.call_id}:"), part]
        text = "\n".join(line for line in lines if line) or _SILENT[answer.status]
        out.append({"role": "tool", "tool_call_id": answer.call_id, "content": text})
    if attached:
        out.append({"role": "user", "content": _content(tuple(attached), blobs)})
    return out


def _content(parts: Sequence[Part], blobs: Mapping[str, bytes]) -> str | list[Body]:
    """Text as a plain string, which every server takes; else a list of content parts."""
    if len(parts) == 1 and type(parts[0]) is Text:  # nearly all: the short way
        return parts[0].text
    content = [_part(part, blobs) for part in parts if isinstance(part, Text | Image | File)]
    if all(part["type"] == "text" for part in content):
        return "\n\n".join(part["text"] for part in content)
    return content


def _part(part: Text | Image | File, blobs: Mapping[str, bytes]) -> Body:
    if isinstance(part, Text):
        return {"type": "text", "text": part.text}
    data = blobs.get(part.blob)
    if data is None:
        return {"type": "text", "text": f"[{_named(part)}: no longer there]"}
    uri = f"data:{part.media_type};base64,{b64encode(data).decode()}"
    if isinstance(part, Image):
        return {"type": "image_url", "image_url": {"url": uri}}
    if part.media_type == "application/pdf":
        name = part.name or "document.pdf"
        return {"type": "file", "file": {"filename": name, "file_data": uri}}
    if part.media_type.startswith("text/") or part.media_type == "application/json":
        return {"type": "text", "text": f"{_named(part)}:\n{data.decode(errors='replace')}"}
    return {"type": "text", "text": f"[{_named(part)} ({part.media_type}): cannot be sent]"}


def _named(part: Image | File) -> str:
    kind = "Image" if isinstance(part, Image) else "File"
    return f"{kind} {part.name}" if part.name else kind

"""What goes to a provider and what comes back, whatever its wire protocol."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Literal

from msgspec import Struct

from patina.model.faults import Failure
from patina.model.items import CallStatus, StopReason
from patina.model.options import Effort
from patina.model.parts import Citation, Part, ResultPart
from patina.model.usage import Usage


class ModelRef(Struct, frozen=True):
    """A model by its provider's name in the configuration, its own name, and its effort."""

    provider: str
    model: str
    effort: Effort | None = None

    def __str__(self) -> str:
        return f"{self.provider}/{self.model}"


class Price(Struct, frozen=True, omit_defaults=True):
    """USD per million tokens. None: not known. `tiered`: it differs with the request's length.

    `per_request` is USD for each request on top of that.
    """

    input: Decimal | None = None
    output: Decimal | None = None
    cache_read: Decimal | None = None
    cache_write: Decimal | None = None
    tiered: bool = False
    per_request: Decimal | None = None


class ModelInfo(Struct, frozen=True, omit_defaults=True):
    """What is known of a model. None is "not known", never "no".

    `context_window` and `max_output` are tokens. `images`, `files` (PDF), `tools` and `thinking`
    say what it can take or do. `source` says where most of it came from.
    """

    provider: str
    model: str
    context_window: int | None = None
    max_output: int | None = None
    title: str = ""
    images: bool | None = None
    files: bool | None = None
    tools: bool | None = None
    thinking: bool | None = None
    price: Price | None = None
    source: str = ""


class ToolSpec(Struct, frozen=True):
    """A tool as the model is told of it: `name` is the wire alias, `schema` JSON Schema."""

    name: str
    description: str
    schema: Mapping[str, Any]


class ToolAnswer(Struct, frozen=True):
    """The result of an earlier call, for the model. `call_id` as in its `ToolCall`."""

    call_id: str
    status: CallStatus
    parts: tuple[ResultPart, ...]


class ChatMessage(Struct, frozen=True):
    """One message of the history.

    `parts` hold `ToolCall` only for the assistant, whose `ToolCall.name` is the wire alias here;
    `answers` stand only in role "tool" and answer the calls of the message before, in its order.
    `provider` and `model` are who wrote an assistant message.
    """

    role: Literal["user", "assistant", "tool"]
    parts: tuple[Part, ...] = ()
    answers: tuple[ToolAnswer, ...] = ()
    provider: str = ""
    model: str = ""


class ChatRequest(Struct, frozen=True, kw_only=True):
    """One request. `blobs` maps the SHA-256 of every image and file in `messages` to its bytes.

    `max_tokens` bounds the answer; `timeout` is seconds of silence before the request fails.
    `schema` is the JSON Schema that the answer has to fit. `info` is what is known of the model:
    where that says that it sees no images or files, words take their place.
    """

    model: str
    messages: tuple[ChatMessage, ...]
    system: str = ""
    tools: tuple[ToolSpec, ...] = ()
    temperature: float | None = None
    max_tokens: int = 8192
    effort: Effort | None = None
    schema: Mapping[str, Any] | None = None
    info: ModelInfo | None = None
    blobs: Mapping[str, bytes] = {}
    timeout: float = 120.0


class TextDelta(Struct, frozen=True):
    """More text of the part `index`; parts are told apart by index, never by arrival.

    `citations` come on top of those the part had; `opaque`, where given, replaces what it had.
    """

    text: str
    index: int = 0
    citations: tuple[Citation, ...] = ()
    opaque: str | None = None


class ThinkingDelta(Struct, frozen=True):
    """More reasoning. `signature` and `opaque`, where given, replace what the part had."""

    text: str
    index: int = 0
    signature: str | None = None
    opaque: str | None = None


class ToolCallDelta(Struct, frozen=True):
    """More of a tool call: `id` and `name` once, `arguments` in pieces. `name` is the alias.

    `opaque`, where given, replaces what the call had.
    """

    index: int
    id: str = ""
    name: str = ""
    arguments: str = ""
    opaque: str | None = None


class Retrying(Struct, frozen=True):
    """The request failed before its first delta and is sent again after `wait` seconds."""

    failure: Failure
    wait: float
    attempt: int


class Finished(Struct, frozen=True):
    """The good end of a stream. `raw_reason` is the provider's own word.

    `billed` is what the provider says that the request costs in USD, None where it says nothing;
    `tier` its word for the service that it was ("batch", "flex"), "" for the usual one.
    """

    reason: StopReason
    raw_reason: str = ""
    usage: Usage | None = None
    model: str = ""
    billed: Decimal | None = None
    tier: str = ""


class Failed(Struct, frozen=True):
    """The bad end of a stream; what came before it is kept.

    `usage` is what was told until then: its output may be less than what came. `billed` and `tier`
    as in `Finished`.
    """

    failure: Failure
    usage: Usage | None = None
    billed: Decimal | None = None
    tier: str = ""


StreamEvent = TextDelta | ThinkingDelta | ToolCallDelta | Retrying | Finished | Failed


class ToolInfo(Struct, frozen=True, kw_only=True):
    """A tool of a server, as the server describes it.

    `alias` is the name on the wire. `read_only`, `destructive` and `open_world` are the server's
    claims (None: it says nothing). `timeout` is seconds; progress begins it anew, up to
    `most_time` in all. `hash` is that of its definition and its server's identity; `change` says
    that nobody has seen the definition as it is. `task` says whether its calls may, or must, run
    as tasks. `built_in` are Patina's own.
    """

    server: str
    tool: str
    alias: str
    display_name: str
    description: str = ""
    schema: Mapping[str, Any] = {}
    read_only: bool | None = None
    destructive: bool | None = None
    open_world: bool | None = None
    timeout: float = 30.0
    most_time: float = 600.0
    hash: str = ""
    change: Literal["", "new", "changed"] = ""
    task: Literal["forbidden", "optional", "required"] = "forbidden"
    built_in: bool = False

    @property
    def name(self) -> str:
        """The name a person reads: `server.tool`."""
        return f"{self.server}.{self.tool}"


def split_tool_name(name: str) -> tuple[str, str]:
    """Return server and tool of `server.tool`; it splits at the first dot."""
    server, dot, tool = name.partition(".")
    return (server, tool) if dot else ("", name)


class ToolOutcome(Struct, frozen=True):
    """What a tool call came to. `is_error` is the tool's own word that it failed."""

    parts: tuple[ResultPart, ...]
    is_error: bool = False

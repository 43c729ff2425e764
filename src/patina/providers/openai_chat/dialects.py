"""Where endpoints that speak OpenAI's chat completions differ, as data.

A `Dialect` says how one model of one endpoint wants its requests. It starts as the row of its
endpoint in `KNOWN` and learns from refusals (`learning.py`). Facts: the API references of the
endpoints, as of November 2026.
"""

from typing import Any, Final, Literal

from msgspec import Struct
from msgspec.structs import replace

from patina.providers.brands import brand_of
from patina.providers.endpoint import Endpoint

MaxTokens = Literal["max_tokens", "max_completion_tokens"]
SchemaForm = Literal["json_schema", "json_object", "words"]
EffortForm = Literal["reasoning_effort", "reasoning", "thinking"]
ThinkingForm = Literal["", "reasoning_content", "reasoning", "parts", "details"]
FileForm = Literal["", "file", "document_url"]


class Dialect(Struct, frozen=True, kw_only=True):
    """How requests look. The defaults are what most endpoints take.

    `max_tokens` is the name of that field and `most` the largest value of it; `usage` asks for
    usage; `without` are fields that are not sent. `schema` is how an answer's schema is asked
    for, to the letter with `strict`. `effort` is where the effort stands and `efforts` what it may
    be, where that is known; `extras` are fields for models whose name begins with the first word.

    `nine_ids`: ids of calls are nine letters or digits. `bridge`: no user message may follow a
    tool's. `alternate`: no two user messages follow each other. `system`: there is such a role.
    `tool_names`: answers of tools name the tool. `tool_parts`: they may hold pictures. `images`
    and `files` say whether and how those are sent. `thinking` is how reasoning goes back, where
    it has to: as a field of messages that call tools, of each of them with `always`; as "parts" and
    "details" with all, the latter to the same model only.

    `fuller` is the path, from the root of the endpoint, of a second list of models that says more.
    `lessons` counts what was learnt.
    """

    max_tokens: MaxTokens = "max_tokens"
    renamed: bool = False
    most: int | None = None
    usage: bool = True
    without: frozenset[str] = frozenset()
    schema: SchemaForm = "json_schema"
    strict: bool = False
    effort: EffortForm = "reasoning_effort"
    efforts: tuple[str, ...] = ()
    extras: tuple[tuple[str, str, Any], ...] = ()
    nine_ids: bool = False
    bridge: bool = False
    alternate: bool = False
    system: bool = True
    tool_names: bool = False
    tool_parts: bool = False
    images: bool = True
    files: FileForm = "file"
    thinking: ThinkingForm = ""
    always: bool = False
    fuller: str = ""
    lessons: int = 0


_PLAIN: Final = Dialect()
_LOCAL: Final = Dialect(files="")
OWN: Final = Dialect(max_tokens="max_completion_tokens")
"""OpenAI's own models, at OpenAI or Azure."""
AT_OPENAI: Final = replace(OWN, extras=(("", "service_tier", "default"),))
"""At OpenAI itself; a project can be set to dearer services, but money is held for the usual one
(API reference, `service_tier`).
"""

KNOWN: Final[dict[str, Dialect]] = {
    "lmstudio": replace(_LOCAL, fuller="/api/v0/models"),
    "llamacpp": replace(_LOCAL, thinking="reasoning_content"),
    "vllm": replace(_LOCAL, thinking="reasoning"),
    "openrouter": Dialect(
        effort="reasoning",
        thinking="details",
        extras=(("", "usage", {"include": True}),),  # with what the request costs
    ),
    # Qwen's reasoning comes inside the text unless it is asked for apart.
    "groq": Dialect(files="", extras=(("qwen/", "reasoning_format", "parsed"),)),
    "mistral": Dialect(
        usage=False,  # it refuses fields that it does not know, and sends usage anyway
        nine_ids=True,
        bridge=True,
        alternate=True,
        tool_names=True,
        tool_parts=True,
        files="document_url",
        thinking="parts",
    ),
    "deepseek": Dialect(
        schema="json_object",
        effort="thinking",
        files="",
        thinking="reasoning_content",
        always=True,
    ),
    "xai": Dialect(files="", fuller="/v1/language-models"),
    "huggingface": Dialect(files=""),
}
"""By the name of the brand (`brands.BRANDS`)."""

_HOSTS: Final = {
    "openrouter.ai": "openrouter",
    "api.groq.com": "groq",
    "api.mistral.ai": "mistral",
    "api.deepseek.com": "deepseek",
    "api.x.ai": "xai",
    "router.huggingface.co": "huggingface",
}
_PORTS: Final = {1234: "lmstudio", 8080: "llamacpp", 8000: "vllm"}


def dialect_of(endpoint: Endpoint) -> Dialect:
    """Return what `endpoint` speaks: by its address, else its usual port here, else its name."""
    if endpoint.kind in {"openai", "azure_openai"}:
        return AT_OPENAI if endpoint.is_openai else OWN
    address = endpoint.address
    brand = brand_of(endpoint.provider, endpoint.kind).name
    known = _HOSTS.get(address.host) or (brand if brand in KNOWN else "")
    if not known and address.loopback:
        known = _PORTS.get(address.port, "")
    return KNOWN.get(known, _PLAIN)

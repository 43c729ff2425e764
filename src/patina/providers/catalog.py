"""What is known of brands before anyone configured anything, and how models are named."""

import re
from collections.abc import Collection, Sequence
from typing import Final, get_args
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

from patina.model.chat import ModelRef
from patina.model.options import Effort
from patina.model.settings import ProviderKind, ProviderSettings
from patina.providers.http import HttpClient
from patina.providers.trouble import TransportError

EFFORTS: Final[frozenset[str]] = frozenset(get_args(Effort))
AZURE_API_VERSION: Final = "2024-12-01-preview"
DEMO: Final = "demo"
LOOK_FOR: Final = 0.3
_VERSION: Final = re.compile(r"v\d+[a-z0-9]*")


class Brand(Struct, frozen=True, kw_only=True):
    """A kind of provider. `variable` names the environment variable of its key.

    `needs_key` is whether it is of no use without one; `spoken` whether this version can speak
    its wire protocol.
    """

    kind: ProviderKind
    title: str
    base_url: str = ""
    variable: str = ""
    default_model: str = ""
    needs_key: bool = True
    spoken: bool = True


BRANDS: Final[dict[str, Brand]] = {
    brand.kind: brand
    for brand in (
        Brand(
            kind="openai",
            title="OpenAI",
            base_url="https://api.openai.com/v1",
            variable="OPENAI_API_KEY",
            default_model="gpt-5.2",
        ),
        Brand(kind="azure_openai", title="Azure OpenAI", variable="AZURE_OPENAI_API_KEY"),
        Brand(
            kind="anthropic",
            title="Anthropic",
            base_url="https://api.anthropic.com",
            variable="ANTHROPIC_API_KEY",
            spoken=False,
        ),
        Brand(
            kind="google",
            title="Google Gemini",
            base_url="https://generativelanguage.googleapis.com",
            variable="GEMINI_API_KEY",
            spoken=False,
        ),
        Brand(kind="ollama", title="Ollama", base_url="http://127.0.0.1:11434/v1", needs_key=False),
        Brand(
            kind="cohere",
            title="Cohere",
            base_url="https://api.cohere.com",
            variable="COHERE_API_KEY",
            spoken=False,
        ),
        Brand(
            kind="huggingface",
            title="Hugging Face",
            base_url="https://router.huggingface.co/v1",
            variable="HF_TOKEN",
            default_model="openai/gpt-oss-120b",
        ),
        Brand(kind="openai_compatible", title="OpenAI-compatible", needs_key=False),
    )
}


class LocalApp(Struct, frozen=True):
    """A model server that people run on their own machine, at its usual address."""

    provider: str
    title: str
    kind: ProviderKind
    base_url: str


LOCAL_APPS: Final = (
    LocalApp("ollama", "Ollama", "ollama", "http://127.0.0.1:11434/v1"),
    LocalApp("lmstudio", "LM Studio", "openai_compatible", "http://127.0.0.1:1234/v1"),
    LocalApp("llamacpp", "llama.cpp", "openai_compatible", "http://127.0.0.1:8080/v1"),
)


class FoundLocally(Struct, frozen=True):
    """A local server that answered: the settings it would have, and its models."""

    app: LocalApp
    settings: ProviderSettings
    models: tuple[str, ...]


def parse_model(name: str, full_names: Collection[str] = ()) -> ModelRef:
    """Return the parts of `provider/model[:effort]`; a missing model is "".

    The first `/` divides. A last `:word` is an effort only if it is one and `full_names`, the
    models known by the provider, do not hold the whole name.
    """
    provider, _, model = name.partition("/")
    head, colon, word = model.rpartition(":")
    if colon and word in EFFORTS and model not in full_names:
        return ModelRef(provider, head, msgspec.convert(word, Effort))
    return ModelRef(provider, model)


def openai_base(url: str) -> str:
    """Return `url` with its version segment, whether it was given with or without."""
    url = url.strip().rstrip("/").removesuffix("/chat/completions").rstrip("/")
    segments = urlsplit(url).path.split("/")
    return url if any(map(_VERSION.fullmatch, segments)) else f"{url}/v1"


def azure_base(endpoint: str) -> str:
    """Return the resource's address out of whatever the portal's copy button gave."""
    parts = urlsplit(endpoint.strip())
    path = re.split(r"/openai(?:/|$)", parts.path, maxsplit=1)[0].rstrip("/")
    return f"{parts.scheme}://{parts.netloc}{path}"


def ollama_base(host: str) -> str:
    """Return the base URL for an `OLLAMA_HOST`: a host, host and port, or a URL.

    An address that a server listens on everywhere (0.0.0.0) is reached on this machine. A port
    left out is 11434, but for URLs, where it is the scheme's.
    """
    host = host.strip().rstrip("/")
    if "://" not in host:
        bare = urlsplit(f"http://{host}")
        port = bare.port or 11434
        name = bare.hostname or "127.0.0.1"
        host = f"http://{f'[{name}]' if ':' in name else name}:{port}{bare.path}"
    return openai_base(host.replace("//0.0.0.0", "//127.0.0.1").replace("//[::]", "//[::1]"))


async def discover_local(
    http: HttpClient, apps: Sequence[LocalApp] = LOCAL_APPS
) -> tuple[FoundLocally, ...]:
    """Return those of `apps` that run on this machine now, in that order.

    All are asked at once, 0.3 seconds each.
    """
    import anyio

    found: dict[str, FoundLocally] = {}

    async def ask(app: LocalApp) -> None:
        try:
            answer = await http.get(f"{app.base_url}/models", limit=LOOK_FOR)
            models = model_names(answer.body) if answer.status == 200 else None
        except (TransportError, ValueError):
            return
        if models is None:
            return
        chat = [name for name in models if "embed" not in name.lower()]
        settings = ProviderSettings(
            kind=app.kind,
            base_url=app.base_url,
            local=True,
            default_model=chat[0] if chat else "",
        )
        found[app.provider] = FoundLocally(app, settings, tuple(models))

    async with anyio.create_task_group() as group:
        for app in apps:
            group.start_soon(ask, app)
    return tuple(found[app.provider] for app in apps if app.provider in found)


class _Listed(Struct):
    id: str


class _Listing(Struct):
    data: list[_Listed] | None


def model_names(body: bytes) -> list[str]:
    """Return the names in the answer to `GET /models`. Raises `ValueError` for anything else."""
    try:
        listing = msgspec.json.decode(body, type=_Listing)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    return [model.id for model in listing.data or ()]

"""Lists of models: OpenAI's, and what other endpoints say more in theirs.

Whatever of these keys is there is read: OpenRouter, vLLM (`max_model_len`), llama.cpp (`meta`),
LM Studio (`/api/v0/models`), Groq, Mistral, the Hugging Face router (`providers`), xAI
(`/v1/language-models`), Together and Fireworks.
"""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, Final

from patina.model.chat import ModelInfo, Price
from patina.providers.lenient import UnreadableError, count, decode_json, mapping, sequence, text

_MILLION: Final = Decimal(1_000_000)
_LEAST: Final = Decimal("1e-12")  # written out, what is less would fill pages
_XAI_UNIT: Final = Decimal("0.0001")
_LONGEST_NAME: Final = 200
_WINDOWS: Final = (
    "loaded_context_length",  # LM Studio: what it was loaded with, before what it could have
    "context_length",
    "context_window",
    "max_context_length",
    "max_model_len",
    "context_size",
)
_OUTPUTS: Final = ("max_completion_tokens", "max_output_length", "max_output_tokens")
_OTHER: Final = frozenset(
    {"embeddings", "embedding", "image", "audio", "rerank", "moderation", "transcribe", "video"}
)


def models_in(provider: str, body: bytes, fuller: bytes | None = None) -> dict[str, ModelInfo]:
    """Return the models in a list by name, in its order, without those that cannot chat.

    `fuller` is a second list of the same models that says more; what is wrong with it does not
    count. Raises `ValueError` for what is no list.
    """
    more: dict[str, Mapping[str, Any]] = {}
    if fuller is not None:
        try:
            more = {text(one.get("id")): one for one in _listed(fuller)}
        except ValueError:
            more = {}
    found: dict[str, ModelInfo] = {}
    entries = _listed(body)
    named = [(name, plain) for plain in entries if (name := text(plain.get("id")))]
    if entries and not named:  # one sloppy entry takes nothing from the others
        raise ValueError("models without names")
    for name, plain in named:
        whole = {**plain, **more.get(name, {})}
        if _chats(whole):
            found[name] = _info(provider, name, whole)
    return found


def _listed(body: bytes) -> list[Mapping[str, Any]]:
    """The entries of a list; what llama.cpp says of them in a second one beside it is added."""
    data = decode_json(body)
    if isinstance(data, Mapping):
        beside = {text(one.get("model")): one for one in map(mapping, sequence(data.get("models")))}
        inner = data.get("data", data.get("models"))
    else:
        beside, inner = {}, data
    if not isinstance(inner, list):
        raise UnreadableError("no list of models")
    plain = [mapping(one) for one in inner]
    return [{**mapping(beside.get(text(one.get("id")))), **one} for one in plain]


def _chats(plain: Mapping[str, Any]) -> bool:
    """Whether it may be a model to talk with. Most lists do not say, and mean that it is one."""
    abilities = plain.get("capabilities")
    if isinstance(abilities, Mapping) and abilities.get("completion_chat") is False:
        return False
    if plain.get("active") is False or plain.get("supports_chat") is False:
        return False
    given = _given(plain, "output_modalities")
    if given is not None and "text" not in given:
        return False
    return text(plain.get("type")) not in _OTHER


def _info(provider: str, name: str, plain: Mapping[str, Any]) -> ModelInfo:
    top, meta = mapping(plain.get("top_provider")), mapping(plain.get("meta"))
    offers = [
        mapping(offer)
        for offer in sequence(plain.get("providers"))
        if mapping(offer).get("status") in {None, "live"}
    ]
    windows = [_first(plain, _WINDOWS), count(meta.get("n_ctx")), count(meta.get("n_ctx_train"))]
    windows += [max((_first(offer, _WINDOWS) for offer in offers), default=0)]
    seen = _given(plain, "input_modalities")
    title = text(plain.get("name")) or text(plain.get("display_name"))
    return ModelInfo(
        provider,
        name,
        next((window for window in windows if window), None),
        _first(top, _OUTPUTS) or _first(plain, _OUTPUTS) or None,
        "" if title == name else title[:_LONGEST_NAME],
        _images(plain, seen),
        # That a list does not name files says nothing: OpenRouter reads PDFs for any model.
        True if seen is not None and {"file", "pdf"} & seen else None,
        _tools(plain, offers),
        _thinking(plain),
        _price(plain, offers),
        "endpoint",
    )


def _first(plain: Mapping[str, Any], keys: Iterable[str]) -> int:
    return next((tokens for key in keys if (tokens := count(plain.get(key)))), 0)


def _given(plain: Mapping[str, Any], key: str) -> frozenset[str] | None:
    """The words of a list that stands in the entry or in its `architecture`."""
    value = mapping(plain.get("architecture")).get(key, plain.get(key))
    return frozenset(filter(None, map(text, value))) if isinstance(value, list) else None


def _able(plain: Mapping[str, Any], *names: str) -> bool | None:
    """What `capabilities` say: a table of yes and no (Mistral), or the names of what there is."""
    abilities = plain.get("capabilities")
    if isinstance(abilities, Mapping):
        return _any(abilities.get(name) for name in names)
    if isinstance(abilities, list) and any(name in abilities for name in names):
        return True
    return None


def _any(values: Iterable[Any]) -> bool | None:
    """Whether one of the values is true; None where none of them is true or false."""
    known = [value for value in values if isinstance(value, bool)]
    return any(known) if known else None


def _images(plain: Mapping[str, Any], seen: frozenset[str] | None) -> bool | None:
    if seen is not None:
        return "image" in seen
    kind = plain.get("type")
    if "arch" in plain and kind in {"vlm", "llm"}:  # LM Studio
        return bool(kind == "vlm")
    given = plain.get("supports_image_input")
    return given if isinstance(given, bool) else _able(plain, "vision", "multimodal")


def _tools(plain: Mapping[str, Any], offers: list[Mapping[str, Any]]) -> bool | None:
    parameters = _parameters(plain)
    if parameters is not None:
        return "tools" in parameters
    said = _any(offer.get("supports_tools") for offer in (plain, *offers))
    return _able(plain, "function_calling", "tool_use", "tools") if said is None else said


def _thinking(plain: Mapping[str, Any]) -> bool | None:
    parameters = _parameters(plain)
    if parameters is not None:
        return bool({"reasoning", "include_reasoning", "reasoning_effort"} & parameters)
    return _able(plain, "reasoning", "thinking")


def _parameters(plain: Mapping[str, Any]) -> frozenset[str] | None:
    given = _given(plain, "supported_parameters")
    return given if given is not None else _given(plain, "supported_features")


def _price(plain: Mapping[str, Any], offers: list[Mapping[str, Any]]) -> Price | None:
    """USD per million tokens, where the list says it; of several offers only one that all make."""
    prices = {_priced(mapping(offer.get("pricing"))) for offer in offers}
    own = _priced(mapping(plain.get("pricing"))) or _xai_price(plain)
    return own or (prices.pop() if len(prices) == 1 else None)


def _priced(pricing: Mapping[str, Any]) -> Price | None:
    if "prompt" in pricing or "completion" in pricing:  # OpenRouter: per token, as text
        keys = ("prompt", "completion", "input_cache_read", "input_cache_write")
        amounts = (_amount(pricing.get(key), _MILLION) for key in keys)
        return _made(*amounts, per_request=_amount(pricing.get("request"), Decimal(1)))
    # Hugging Face and Together: per million; two zeros mean that it is not offered like this.
    price = _made(*(_amount(pricing.get(key), Decimal(1)) for key in ("input", "output")))
    return price if price and (price.input or price.output) else None


def _xai_price(plain: Mapping[str, Any]) -> Price | None:
    """The unit of xAI's prices is USD cents per 100 million tokens."""
    names = ("prompt_text", "completion_text", "cached_prompt_text")
    return _made(*(_amount(plain.get(f"{name}_token_price"), _XAI_UNIT) for name in names))


def _made(
    sent: Decimal | None,
    received: Decimal | None,
    read: Decimal | None = None,
    written: Decimal | None = None,
    *,
    per_request: Decimal | None = None,
) -> Price | None:
    if sent is None and received is None:
        return None
    return Price(sent, received, read, written, per_request=per_request or None)


def _amount(value: Any, unit: Decimal) -> Decimal | None:  # noqa: ANN401
    """The price in `value`; None for none, and for -1, which OpenRouter says where it depends."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    try:
        amount = Decimal(str(value)[:40]) * unit
    except ArithmeticError:  # no number, or one with an absurd exponent
        return None
    if not amount.is_finite() or not (amount == 0 or _LEAST <= amount < _MILLION):
        return None
    return Decimal(f"{amount.normalize():f}")  # without zeros at the end, and without exponent

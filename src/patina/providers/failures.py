"""Failures of providers as a person reads them: what happened, and what to do next."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from patina.model.faults import Failure, FaultKind
from patina.providers.endpoint import Endpoint
from patina.providers.trouble import TransportError

if TYPE_CHECKING:
    from patina.providers.complaints import Complaint

UNREADABLE: Final = "unreadable"
_LOCAL_APPS: Final = {11434: "Ollama", 1234: "LM Studio", 8080: "the llama.cpp server"}


def refused(
    endpoint: Endpoint,
    model: str,
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    now: str,
) -> Failure:
    """Return the failure that an answer with an error status is. `now` as in `Clock.now`."""
    if 300 <= status < 400:
        return _redirected(endpoint, status, headers)
    from patina.providers.complaints import classify, read_complaint, retry_after

    complaint = read_complaint(body)
    kind = classify(status, complaint)
    wait = retry_after(headers, now) if kind in {"rate_limit", "overloaded", "server"} else None
    return explain(endpoint, model, kind, complaint, status=status, wait=wait)


def in_stream(endpoint: Endpoint, model: str, error: Any) -> Failure:  # noqa: ANN401
    """Return the failure that an error object inside a stream is."""
    from patina.providers.complaints import classify, complaint_of

    complaint = complaint_of(error)
    kind = classify(complaint.status, complaint)
    return explain(endpoint, model, kind, complaint, status=complaint.status)


def complained(endpoint: Endpoint, model: str, body: bytes) -> Failure:
    """Return the failure that an error event inside a stream is."""
    from patina.providers.complaints import classify, read_complaint

    complaint = read_complaint(body)
    kind = classify(complaint.status, complaint)
    return explain(endpoint, model, kind, complaint, status=complaint.status)


def filtered(endpoint: Endpoint, model: str) -> Failure:
    """Return the failure of a prompt that a content filter stopped without a word."""
    message, hint = _sentence(endpoint, model, "content_filter", None, None)
    return Failure("content_filter", message, hint)


def lost(endpoint: Endpoint, model: str, error: TransportError) -> Failure:
    """Return the failure that a transport error is."""
    name, origin = endpoint.label, endpoint.address.origin
    if error.kind == "network":
        message = f"{name} cannot be reached at {origin}: {endpoint.words(error.reason)}."
        return Failure("network", message, _start_it(endpoint))
    if error.kind == "timeout":
        message = f"{name} did not answer in time ({model} at {origin}): {error.reason}."
        hint = "Ask again, or allow more time with --timeout."
        return Failure("timeout", message, _start_it(endpoint) if error.unsent else hint)
    if error.kind == "cut":
        return cut(endpoint, model)
    return unreadable(endpoint, error.reason)


def cut(endpoint: Endpoint, model: str) -> Failure:
    """Return the failure of an answer that ended before its end."""
    message = f"The answer of {model} ({endpoint.label}) was cut off before its end."
    return Failure("cut", message, "What came is kept. Ask again to continue.")


def unreadable(endpoint: Endpoint, what: str) -> Failure:
    """Return the failure of an answer that is not what the protocol promises."""
    message = f"{endpoint.label} sent something that is not an answer: {endpoint.words(what)}."
    hint = f"Check base_url of the provider {endpoint.provider}: is {endpoint.base_url} its API?"
    return Failure("server", message, hint, code=UNREADABLE)


def explain(
    endpoint: Endpoint,
    model: str,
    kind: FaultKind,
    complaint: "Complaint",
    *,
    status: int | None = None,
    wait: float | None = None,
) -> Failure:
    """Return the sentence and the hint of a refusal of `kind`."""
    message, hint = _sentence(endpoint, model, kind, status, wait)
    said = endpoint.words(complaint.message)
    if said:
        message = f"{message} It said: {said}"
    return Failure(kind, message, hint, wait, status, endpoint.words(complaint.code))


def _redirected(endpoint: Endpoint, status: int, headers: Mapping[str, str]) -> Failure:
    from urllib.parse import urlsplit

    try:
        host = urlsplit(headers.get("location", "")).hostname
    except ValueError:
        host = None
    to = f" to {endpoint.words(host)}" if host else ""
    message = (
        f"{endpoint.label} redirects{to} ({status}), which is not followed: a key goes nowhere"
        " but to the configured address."
    )
    hint = f"If that is right, set base_url of the provider {endpoint.provider} to the new address."
    return Failure("bad_request", message, hint, status=status)


def _sentence(
    endpoint: Endpoint, model: str, kind: FaultKind, status: int | None, wait: float | None
) -> tuple[str, str]:
    name = endpoint.label
    provider = endpoint.provider
    number = f" ({status})" if status else ""
    if kind == "auth":
        return f"{name} did not accept the key{number}.", key_hint(endpoint)
    if kind == "model_not_found":
        return f"{name} does not know the model {model}{number}.", _model_hint(endpoint, model)
    if kind == "rate_limit":
        until = f" and asks to wait {wait:.0f} s" if wait else ""
        hint = f"Ask again in {wait:.0f} s" if wait else "Ask again in a minute"
        return (
            f"{name} limits the rate of requests{number}{until}.",
            f"{hint}, or use another model.",
        )
    table: dict[str, tuple[str, str]] = {
        "quota": (
            f"The account at {name} has no credit or quota left{number}.",
            f"Check plan and billing of {name}, or choose another provider with -m.",
        ),
        "context_too_long": (
            f"The conversation is too long for {model} ({name}).",
            "Begin a new conversation, send less, or choose a model with a larger context.",
        ),
        "content_filter": (
            f"The content filter of {name} stopped this request to {model}.",
            "Say it in other words, or choose another model.",
        ),
        "overloaded": (
            f"{name} is overloaded{number}.",
            "Ask again in a minute, or choose another model with -m.",
        ),
        "timeout": (
            f"{name} gave up waiting for {model}{number}.",
            "Ask again, or choose a faster model.",
        ),
        "server": (
            f"{name} failed while answering as {model}{number}.",
            "Ask again. If it stays so, look at the provider's status page or log.",
        ),
    }
    refusal = (
        f"{name} did not accept the request for {model}{number}.",
        f"Check model and base_url of the provider {provider}: patina doctor",
    )
    return table.get(kind, refusal)


def key_hint(endpoint: Endpoint) -> str:
    """Return what to do about a key that is missing or wrong."""
    command = f"patina keys set {endpoint.secret or endpoint.provider}"
    return f"Set {endpoint.variable}, or run: {command}" if endpoint.variable else f"Run: {command}"


def _model_hint(endpoint: Endpoint, model: str) -> str:
    if endpoint.kind == "azure_openai":
        return (
            "With Azure the model is the name of a deployment of your resource: set deployment,"
            " or AZURE_OPENAI_DEPLOYMENT_NAME."
        )
    if endpoint.kind == "ollama":
        return f"Fetch it with: ollama pull {endpoint.words(model)}"
    return f"See what there is: patina models {endpoint.provider}"


def _start_it(endpoint: Endpoint) -> str:
    if not endpoint.here:
        return f"Check the network, the proxy, and base_url of the provider {endpoint.provider}."
    port = endpoint.address.port
    app = "Ollama" if endpoint.kind == "ollama" else _LOCAL_APPS.get(port, "LM Studio or Ollama")
    return f"Start {app}, or choose another provider with -m."

"""Failures of providers as a person reads them: what happened, and what to do next.

The table for users is docs/failures.md. What the refusals of all providers mean is in `refusals`,
which is imported with the first failure only.
"""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from patina.model.faults import TOOLS_REFUSED, UNSENT, Failure
from patina.providers.endpoint import Endpoint
from patina.providers.trouble import TransportError

if TYPE_CHECKING:
    from patina.providers.complaints import Complaint
    from patina.providers.refusals import Refusal

UNREADABLE: Final = "unreadable"
NO_NETWORK: Final = "Network unavailable. Check connection."
_LOCAL_APPS: Final = {11434: "Ollama", 1234: "LM Studio", 8080: "the llama.cpp server"}
_WAITING_HELPS: Final = frozenset({"rate", "overloaded", "server"})

# What a person reads, and what to do. {who} is the provider and, where it is elsewhere, its
# address; {status} is the HTTP status, where there is one.
_SAYS: Final[dict[str, tuple[str, str]]] = {
    "key": (
        "Authentication failed. Check your API key. {who} {key}{status}.",
        "{key_hint}",
    ),
    "right": (
        "Permission denied. {who} does not let this key use {model}{status}.",
        "See what the account may use, and from where; or use another key. {key_hint}",
    ),
    "region": (
        "Permission denied. {who} does not serve the place that this request came from{status}.",
        "Choose another provider with -m.",
    ),
    "model": ("{who} does not know the model {model}{status}.", "{model_hint}"),
    "rate": (
        "Rate limited. Try again in {wait}. {who} limits the rate of requests{status}.",
        "Ask again in {wait}, or use another model with -m.",
    ),
    "quota": (
        "The account at {who} has no credit or quota left{status}.",
        "Check plan and billing of {name}, or choose another provider with -m.",
    ),
    "length": (
        "The conversation is too long for {model} of {who}{status}.",
        "Begin a new conversation, send less, or choose a model with a larger context.",
    ),
    "size": (
        "The request is too large for {who}{status}.",
        "Send fewer or smaller images and files, or begin a new conversation.",
    ),
    "filter": (
        "The content filter of {who} stopped this request to {model}{status}.",
        "Say it in other words, or choose another model.",
    ),
    "overloaded": (
        "{who} is overloaded{status}.",
        "Ask again in {wait}, or choose another model with -m.",
    ),
    "gave up": (
        "{who} gave up waiting for {model}{status}.",
        "Ask again, or choose a faster model.",
    ),
    "server": (
        "{who} failed while answering as {model}{status}.",
        "Ask again in {wait}. If it stays so, look at the provider's status page or log.",
    ),
    "tools": (
        "The model {model} of {who} takes no tools{status}.",
        "Ask without them (--no-tools), or choose another model with -m.",
    ),
    "proxy": (
        "The proxy on the way to {who} wants a user name and a password{status}.",
        "Put them into HTTPS_PROXY and HTTP_PROXY, or name the host in NO_PROXY.",
    ),
    "request": (
        "{who} did not accept the request for {model}{status}.",
        "Check model and base_url of the provider {provider}: patina doctor",
    ),
}

# What stands in place of a model where its list was asked for, and the sentences that then differ.
LISTING: Final = "its models"
_SAYS_OF_LISTS: Final[dict[str, tuple[str, str]]] = {
    "model": (
        "{who} has no list of models at this address{status}.",
        "Check base_url of the provider {provider}.",
    ),
    "right": (
        "Permission denied. {who} does not let this key list its models{status}.",
        "{key_hint}",
    ),
    "server": (
        "{who} failed while listing its models{status}.",
        "Ask again in {wait}. If it stays so, look at the provider's status page or log.",
    ),
    "request": (
        "{who} did not accept the request for its models{status}.",
        "Check base_url of the provider {provider}: patina doctor",
    ),
}


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
    from patina.providers.complaints import read_complaint, wait_asked
    from patina.providers.refusals import classify

    complaint = read_complaint(body)
    refusal = classify(status, complaint)
    wait = wait_asked(headers, now, complaint) if refusal in _WAITING_HELPS else None
    return _explain(endpoint, model, refusal, complaint, status, wait)


def in_stream(endpoint: Endpoint, model: str, error: Any) -> Failure:  # noqa: ANN401
    """Return the failure that an error object inside a stream is."""
    from patina.providers.complaints import complaint_of

    return _inside(endpoint, model, complaint_of(error))


def complained(endpoint: Endpoint, model: str, body: bytes) -> Failure:
    """Return the failure that an error event inside a stream is."""
    from patina.providers.complaints import read_complaint

    return _inside(endpoint, model, read_complaint(body))


def filtered(endpoint: Endpoint, model: str) -> Failure:
    """Return the failure of a prompt that a content filter stopped without a word."""
    message, hint = _sentence(endpoint, model, "filter", None, None)
    return Failure("content_filter", message, hint)


def lost(endpoint: Endpoint, model: str, error: TransportError) -> Failure:
    """Return the failure that a transport error is."""
    reason = endpoint.words(error.reason)
    name, origin = endpoint.label, endpoint.address.origin
    if error.kind == "network":
        return _unreachable(endpoint, error, reason, asked=model != LISTING)
    if error.kind == "cut":
        return cut(endpoint, model)
    if error.kind == "rate_limit":
        message, hint = _sentence(endpoint, model, "rate", None, error.wait)
        return Failure("rate_limit", message, hint, error.wait)
    if error.kind == "timeout" and error.cause == "queue":
        message = f"{name} had no place for this request: {reason}."
        hint = f"Wait for the others, or raise concurrency of the provider {endpoint.provider}."
        return Failure("timeout", message, hint, code=UNSENT)
    if error.kind == "timeout":
        message = f"{name} did not answer in time ({model} at {origin}): {reason}."
        return Failure("timeout", message, "Ask again, or allow more time with --timeout.")
    return unreadable(endpoint, reason)


def cut(endpoint: Endpoint, model: str) -> Failure:
    """Return the failure of an answer that ended before its end."""
    message = f"The answer of {model} ({endpoint.label}) was cut off before its end."
    return Failure("cut", message, "What came is kept. Ask again to continue.")


def unreadable(endpoint: Endpoint, what: str) -> Failure:
    """Return the failure of an answer that is not what the protocol promises."""
    message = f"{endpoint.label} sent something that is not an answer: {endpoint.words(what)}."
    hint = f"Check base_url of the provider {endpoint.provider}: is {endpoint.base_url} its API?"
    return Failure("server", message, hint, code=UNREADABLE)


def _unreachable(endpoint: Endpoint, error: TransportError, reason: str, *, asked: bool) -> Failure:
    """Return the failure of a request that came to no answer, by what was in its way.

    `asked`: a model was to work on it, which costs.
    """
    name, origin, host = endpoint.label, endpoint.address.origin, endpoint.address.host
    hint = f"Check the network, the proxy, and base_url of the provider {endpoint.provider}."
    if error.cause == "tls":
        message = f"There is no secure connection to {name} at {origin}: {reason}."
        hint = (
            f"Is {endpoint.base_url} right? Where a proxy or a company signs the certificates, set"
            " SSL_CERT_FILE to a file with the certificate that they are signed with."
        )
    elif error.cause == "proxy":
        message = f"{name} cannot be reached: {reason}."
        hint = f"Check HTTPS_PROXY and HTTP_PROXY, or put {host} into NO_PROXY."
    elif endpoint.here and (endpoint.address.loopback or error.cause == "refused"):
        message = f"{name} cannot be reached at {origin}: {reason}."
        hint = _start_it(endpoint)
    elif error.cause == "dns":
        message = f"{NO_NETWORK} The name {host} ({name}) could not be resolved."
    else:
        message = f"{NO_NETWORK} {name} cannot be reached at {origin}: {reason}."
    if asked and not error.unsent:
        hint = f"It may have begun to work on the request: it was not sent again. {hint}"
    return Failure("network", message, hint, code=UNSENT if error.unsent else "")


def _redirected(endpoint: Endpoint, status: int, headers: Mapping[str, str]) -> Failure:
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(headers.get("location", ""))
        to = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}" if parts.netloc else ""
    except ValueError:
        to = ""
    to = f" to {endpoint.words(to)}" if to else ""
    message = (
        f"{endpoint.label} redirects{to} ({status}), which is not followed: a key goes nowhere"
        " but to the configured address."
    )
    hint = f"If that is right, set base_url of the provider {endpoint.provider} to the new address."
    return Failure("bad_request", message, hint, status=status)


def _inside(endpoint: Endpoint, model: str, complaint: "Complaint") -> Failure:
    """Return the failure of an answer that ended in a complaint."""
    from patina.providers.refusals import classify

    refusal = classify(complaint.status, complaint)
    wait = complaint.wait if refusal in _WAITING_HELPS else None
    return _explain(endpoint, model, refusal, complaint, complaint.status, wait)


def _explain(
    endpoint: Endpoint,
    model: str,
    refusal: "Refusal",
    complaint: "Complaint",
    status: int | None,
    wait: float | None,
) -> Failure:
    """Return the sentence and the hint of a refusal, with what the endpoint said."""
    from patina.providers.refusals import KINDS

    message, hint = _sentence(endpoint, model, refusal, status, wait)
    said = endpoint.words(complaint.message)
    if said:
        message = f"{message} It said: {said}"
    code = TOOLS_REFUSED if refusal == "tools" else endpoint.words(complaint.code)
    return Failure(KINDS[refusal], message, hint, wait, status, code)


def _sentence(
    endpoint: Endpoint, model: str, refusal: "Refusal", status: int | None, wait: float | None
) -> tuple[str, str]:
    name, origin = endpoint.label, endpoint.address.origin
    parts = {
        "name": name,
        "who": name if endpoint.here else f"{name} at {origin}",
        "model": model,
        "provider": endpoint.provider,
        "status": f" ({status})" if status else "",
        "wait": _in_words(wait),
        "key": "did not accept it" if endpoint.auth else "wants one, and none is set",
        "key_hint": key_hint(endpoint),
        "model_hint": _model_hint(endpoint, model),
    }
    listing = _SAYS_OF_LISTS.get(refusal) if model == LISTING else None
    message, hint = listing or _SAYS[refusal]
    return message.format_map(parts), hint.format_map(parts)


def _in_words(wait: float | None) -> str:
    """Return a time to wait in whole seconds, or what will do where nobody said."""
    if wait is None:
        return "a minute"
    seconds = max(1, math.ceil(wait))
    return "1 second" if seconds == 1 else f"{seconds} seconds"


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
    port = endpoint.address.port
    app = "Ollama" if endpoint.kind == "ollama" else _LOCAL_APPS.get(port, "LM Studio or Ollama")
    return f"Start {app}, or choose another provider with -m."

"""What an endpoint complains of: error bodies in all their shapes, and the kind of failure.

The rows come from the error pages of OpenAI and Azure OpenAI and from the answers of vLLM,
llama.cpp, Ollama and LM Studio, which put other words into the same shape.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from patina.model.faults import FaultKind

_BY_CODE: Final[dict[str, FaultKind]] = {
    "invalid_api_key": "auth",
    "invalid_authentication": "auth",
    "authentication_error": "auth",
    "permission_denied": "auth",
    "unauthorized": "auth",
    "model_not_found": "model_not_found",
    "deploymentnotfound": "model_not_found",
    "insufficient_quota": "quota",
    "billing_hard_limit_reached": "quota",
    "billing_not_active": "quota",
    "rate_limit_exceeded": "rate_limit",
    "rate_limit_error": "rate_limit",
    "rate_limited": "rate_limit",
    "requests": "rate_limit",
    "tokens": "rate_limit",
    "toomanyrequests": "rate_limit",
    "context_length_exceeded": "context_too_long",
    "exceed_context_size_error": "context_too_long",
    "string_above_max_length": "context_too_long",
    "content_filter": "content_filter",
    "content_policy_violation": "content_filter",
    "responsibleaipolicyviolation": "content_filter",
    "overloaded": "overloaded",
    "overloaded_error": "overloaded",
    "engine_overloaded": "overloaded",
    "service_unavailable": "overloaded",
    "unavailable_error": "overloaded",
    "timeout": "timeout",
    "server_error": "server",
    "internal_server_error": "server",
    "internal_error": "server",
}
_BY_STATUS: Final[dict[int, FaultKind]] = {
    401: "auth",
    402: "quota",
    403: "auth",
    408: "timeout",
    413: "context_too_long",
    429: "rate_limit",
    503: "overloaded",
    504: "timeout",
    529: "overloaded",
}
_TOO_LONG: Final = re.compile(
    r"maximum context length|context[ _](?:length|window|size)|prompt is too long"
    r"|too many (?:input )?tokens|exceeds? the (?:maximum|model'?s) (?:number of )?tokens",
    re.IGNORECASE,
)
_NO_MODEL: Final = re.compile(
    r"model\b.{0,200}?\b(?:not found|does not exist|not exist|not loaded|is not available)"
    r"|no models? (?:is |are )?loaded|unknown model|deployment .{0,80}does not exist",
    re.IGNORECASE | re.DOTALL,
)


class Complaint(msgspec.Struct, frozen=True):
    """An error as an endpoint tells it, whatever shape it has. Nothing in it is trusted."""

    message: str = ""
    codes: tuple[str, ...] = ()
    status: int | None = None

    @property
    def code(self) -> str:
        """The first code, for programs."""
        return self.codes[0] if self.codes else ""


def read_complaint(body: bytes) -> Complaint:
    """Return what an error body says: JSON in one of the usual shapes, or plain text."""
    try:
        data = msgspec.json.decode(body)
    except (msgspec.MsgspecError, RecursionError):
        text = body.decode(errors="replace")
        return Complaint() if text.lstrip().startswith("<") else Complaint(text)
    if isinstance(data, dict):
        return complaint_of(data.get("error") or data.get("detail") or data)
    return complaint_of(data)


def complaint_of(error: Any) -> Complaint:  # noqa: ANN401 - whatever an endpoint sends
    """Return what the value of an `error` key says."""
    if isinstance(error, list) and error:
        error = error[0]
    if not isinstance(error, Mapping):
        return Complaint(error if isinstance(error, str) else "")
    inner = error.get("innererror") or error.get("inner_error")
    found = [error.get("code"), error.get("type")]
    if isinstance(inner, Mapping):
        found.append(inner.get("code"))
    numbers = [error.get("status"), error.get("code")]
    status = next((n for n in numbers if isinstance(n, int) and 300 <= n < 600), None)
    text = next(
        (error[k] for k in ("message", "msg", "error") if isinstance(error.get(k), str)), ""
    )
    return Complaint(text, tuple(c for c in found if isinstance(c, str) and c), status)


def classify(status: int | None, complaint: Complaint) -> FaultKind:
    """Return the kind of a refusal. Codes speak before words, words before the status.

    The vague codes, "some server error" and "of tokens", count only where there is no status.
    """
    for code in complaint.codes:
        kind = _BY_CODE.get(code.lower())
        vague = (kind == "rate_limit" and status != 429) or kind == "server"
        if kind is not None and not (vague and status is not None):
            return kind
    if status is None or status in {400, 404, 413, 422, 500}:
        if _TOO_LONG.search(complaint.message):
            return "context_too_long"
        if _NO_MODEL.search(complaint.message):
            return "model_not_found"
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    return "server" if status is None or status >= 500 else "bad_request"


def retry_after(headers: Mapping[str, str], now: str) -> float | None:
    """Return the seconds that `Retry-After` (RFC 9110, 10.2.3) asks to wait, or None.

    `retry-after-ms`, which Azure sends too, is more exact and goes first.
    """
    for name, unit in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        value = headers.get(name, "").strip()
        if value.replace(".", "", 1).isdigit() and value.isascii():
            return float(value) / unit
    value = headers.get("retry-after", "")
    if not value:
        return None
    from email.utils import parsedate_to_datetime

    try:
        when = parsedate_to_datetime(value)
    except (ValueError, TypeError, OverflowError):
        return None
    if when.tzinfo is None:
        when = when.replace(tzinfo=UTC)
    return max(0.0, (when - datetime.fromisoformat(now)).total_seconds())

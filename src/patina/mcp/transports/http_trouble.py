"""What HTTP says when it does not work, in words: errors of the network, statuses of servers.

Imported late, with httpx2.
"""

import errno
import re
import socket
import ssl
from collections.abc import Iterable
from typing import Any, Final

import httpcore2
import httpx2
import msgspec
from msgspec import Struct

from patina.mcp.text import shortened, visible
from patina.model.sse import MAX_EVENT, EventTooLargeError

# All that a request can raise but the failures of a sign-in.
ERRORS: Final = (
    httpcore2.TimeoutException,
    httpcore2.ProxyError,
    httpcore2.NetworkError,
    httpcore2.ProtocolError,
    httpcore2.UnsupportedProtocol,
    httpx2.HTTPError,
    httpx2.InvalidURL,
    httpx2.StreamError,
    EventTooLargeError,
    OSError,
    UnicodeError,
)
_NO_WAY: Final = frozenset({errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN})
_SHOWN: Final = 200
# How httpcore2 and h11 begin to say that a connection ended too early.
_LOST: Final = ("Server disconnected", "peer closed")
_MARKUP: Final = re.compile(r"<(script|style)\b.*?</\1\s*>|<[^>]*>", re.DOTALL | re.IGNORECASE)


class Trouble(Struct, frozen=True):
    """Why a request has no answer. `away`: no connection was made, so nothing has been sent."""

    words: str
    away: bool = False


def trouble(error: Exception) -> Trouble:
    """Return what `error`, one of `ERRORS`, means."""
    if isinstance(error, EventTooLargeError):
        return Trouble(f"the answer is larger than {MAX_EVENT // 2**20} MB")
    if isinstance(error, httpcore2.PoolTimeout):
        return Trouble("too many requests are under way")
    if isinstance(error, httpcore2.ConnectTimeout):
        return Trouble("no connection was made in time", away=True)
    if isinstance(error, httpcore2.WriteTimeout):
        return Trouble("the request could not be sent in time")
    if isinstance(error, httpcore2.ProxyError):
        return Trouble(f"the proxy refused: {_said(error)}", away=True)
    if isinstance(error, httpcore2.LocalProtocolError | UnicodeEncodeError):
        return Trouble("the request cannot be put into HTTP: look at its headers")
    if isinstance(error, httpcore2.ConnectError | OSError | UnicodeError):
        return Trouble(_unreached(causes(error)), away=True)
    lost = not isinstance(error, httpcore2.RemoteProtocolError) or any(
        words in str(error) for words in _LOST
    )
    if isinstance(error, httpcore2.ProtocolError) and not lost:
        return Trouble(f"what it sent is not HTTP: {_said(error)}")
    if isinstance(error, httpcore2.NetworkError | httpcore2.ProtocolError):
        return Trouble("the connection was lost")
    return Trouble(_said(error))


def _unreached(causes: list[BaseException]) -> str:
    for cause in causes:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"the certificate is not trusted: {cause.verify_message}"
        if isinstance(cause, ssl.SSLError):
            return "no TLS connection could be made: does it speak https?"
        if isinstance(cause, socket.gaierror | UnicodeError):
            return "no such host"
    numbers = {cause.errno for cause in causes if isinstance(cause, OSError)}
    if any(isinstance(cause, ConnectionRefusedError) for cause in causes):
        return "Connection refused"
    if any(isinstance(cause, TimeoutError) for cause in causes):
        return "no connection was made in time"
    if numbers & _NO_WAY:
        return "there is no way to it"
    return "the connection was closed while it was made"


def causes(error: BaseException) -> list[BaseException]:
    """Return `error` and all that it came from: one of several addresses may say more."""
    found: list[BaseException] = []
    waiting: list[BaseException | None] = [error]
    while waiting and len(found) < 50:
        current = waiting.pop(0)
        if current is None or current in found:
            continue
        found.append(current)
        if isinstance(current, BaseExceptionGroup):
            waiting.extend(current.exceptions)
        waiting += [current.__cause__, current.__context__]
        waiting += [argument for argument in current.args if isinstance(argument, BaseException)]
    return found


def _said(error: Exception) -> str:
    return shortened(visible(str(error)), _SHOWN) or type(error).__name__


class RpcError(Struct):
    """The error of a JSON-RPC answer."""

    code: int
    message: str
    data: Any = None


class _Answer(Struct):
    error: RpcError


def rpc_error(body: bytes) -> RpcError | None:
    """Return the JSON-RPC error in `body`, or None where there is none."""
    try:
        return msgspec.json.decode(body, type=_Answer).error
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return None


def refusal(response: httpx2.Response, body: bytes, secrets: Iterable[str]) -> str:
    """Return what a server answered that did not do it: status, reason, the begin of its text."""
    location = response.headers.get("location")
    if response.is_redirect and location is not None:
        place = shortened(visible(_place(response, location)), _SHOWN)
        return f"redirects to {place}, which was not followed: is that its right address?"
    words = f"answered {response.status_code} {visible(response.reason_phrase)}".rstrip()
    text = _text(response, body, secrets)
    return f"{words}: {text}" if text else words


def _place(response: httpx2.Response, location: str) -> str:
    """Return where a redirect leads, without what may be a secret in it."""
    try:
        url = response.request.url.join(location)
        return str(url.copy_with(userinfo=b"", query=None, fragment=None))
    except (httpx2.InvalidURL, ValueError):
        return "a place that is no address"


def _text(response: httpx2.Response, body: bytes, secrets: Iterable[str]) -> str:
    kind = media_type(response)
    if not (kind.startswith("text/") or kind.endswith(("json", "xml"))):
        return ""
    text = body[: 16 * 1024].decode("utf-8", "replace")
    if kind == "text/html":
        text = _MARKUP.sub(" ", text)
    for secret in secrets:
        if len(secret) > 3:
            text = text.replace(secret, "[redacted]")
    return shortened(visible(" ".join(text.split())), _SHOWN)


def media_type(response: httpx2.Response) -> str:
    """Return the content type of `response` in small letters, without its parameters."""
    kind: str = response.headers.get("content-type", "")
    return kind.partition(";")[0].strip().lower()

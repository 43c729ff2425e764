"""From an address to an open WebSocket, or to the sentence that says why there is none.

Facts: `websockets` 16 on PyPI; RFC 6455. Import it late and in a worker thread.
"""

import logging
import re
import ssl
from collections.abc import Iterable, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

import anyio.to_thread
import httpx2
from websockets import exceptions
from websockets.asyncio.client import ClientConnection, connect
from websockets.frames import CloseCode
from websockets.typing import Subprotocol

from patina.mcp.failing import AWAY, fault, sign_in_fault
from patina.mcp.text import shortened, visible
from patina.mcp.transports.credentials import Credentials
from patina.mcp.transports.http_network import proxy_for, trust
from patina.mcp.transports.http_trouble import trouble
from patina.mcp.transports.link import LONGEST_MESSAGE
from patina.mcp.transports.remote import Network, Remote
from patina.model.faults import McpFault

SUBPROTOCOL: Final = "mcp"
# How long a close may take that the server has to answer. Seconds.
CLOSE_GRACE: Final = 1.0
# Messages that wait to be read; each may be as long as the longest.
_WAITING: Final = 4
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_AGAIN: Final = frozenset(
    {CloseCode.SERVICE_RESTART, CloseCode.TRY_AGAIN_LATER, CloseCode.BAD_GATEWAY}
)
_BUSY: Final = frozenset({408, 429, 500, 502, 503, 504})


def _quiet() -> logging.Logger:
    """Return a logger that says nothing: the library would log whole messages, secrets and all."""
    logger = logging.getLogger(f"{__name__}.library")
    logger.disabled = True
    return logger


class _Dial(connect):
    """Dials one address and no other: headers hold secrets, and go where they were meant to go."""

    def process_redirect(self, exc: Exception) -> Exception:
        """Let a redirect be the error that it came as."""
        return exc


async def dial(remote: Remote) -> ClientConnection:
    """Return an open connection to `remote`; it is the caller's to close.

    At most `remote.wait` seconds, and again where credentials were renewed. Raises `McpFault`, of
    the code `AWAY` where waiting may help and `SIGN_IN` where a sign-in would, and what `auth`
    raises. Compression is off: a result of 5 MB takes 1.6 ms so, and 110 ms of computing with it.
    """
    _check_headers(remote)
    secure = remote.url[:4].lower() == "wss:"
    proxy = _proxy(remote, secure=secure)
    options: dict[str, Any] = {"proxy": proxy or None}
    if secure or proxy.startswith("https:"):
        context = await anyio.to_thread.run_sync(_trusted, remote.notes.server, remote.network)
        if secure:
            options["ssl"] = context
        if proxy.startswith("https:"):
            options["proxy_ssl"] = context
    credentials = Credentials(remote)
    attempt = 1
    while True:
        sent = await credentials.headers("GET", remote.url)
        try:
            return await _dialed(remote, sent, options)
        except exceptions.InvalidStatus as error:
            answer = error.response
            headers = dict(answer.headers.raw_items())
            if await credentials.again(answer.status_code, headers, sent, attempt):
                attempt += 1
                continue
            told = credentials.refusal(answer.status_code, "")
            if told.get("sign_in"):
                raise sign_in_fault(remote.notes.server) from None
            raise _not_connected(remote, error, proxy, credentials.secrets) from None
        except (OSError, ValueError, ImportError, EOFError, exceptions.WebSocketException) as error:
            raise _not_connected(remote, error, proxy, credentials.secrets) from None


async def _dialed(
    remote: Remote, added: Mapping[str, str], options: dict[str, Any]
) -> ClientConnection:
    return await _Dial(
        remote.url,
        subprotocols=[Subprotocol(SUBPROTOCOL)],
        additional_headers={**remote.headers, **added},
        user_agent_header="patina",
        compression=None,
        open_timeout=remote.wait,
        close_timeout=CLOSE_GRACE,
        max_size=LONGEST_MESSAGE,
        max_queue=_WAITING,
        logger=_quiet(),
        **options,
    )


def shown(url: str) -> str:
    """Return `url` without what may be a secret in it: user, password and query."""
    parts = urlsplit(url)
    return visible(f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}")


def close_words(end: exceptions.ConnectionClosed) -> tuple[str, bool]:
    """Return how a connection ended, in words, and whether waiting may help."""
    received, sent = end.rcvd, end.sent
    if received is not None and (sent is None or end.rcvd_then_sent):
        reason = visible(shortened(received.reason, 300))
        words = f"closed the connection (code {received.code}{': ' if reason else ''}{reason})"
        return words, received.code in _AGAIN
    if sent is None:
        return "lost the connection: it broke off", True
    if sent.code == CloseCode.INTERNAL_ERROR:
        return "lost the connection: it stopped answering pings", True
    if sent.code == CloseCode.MESSAGE_TOO_BIG:
        return f"sent a message of over {LONGEST_MESSAGE // 2**20} MB", False
    return f"broke the rules of WebSocket ({visible(shortened(sent.reason, 200))})", False


def _proxy(remote: Remote, *, secure: bool) -> str:
    """Return the proxy on the way, by the rules of the HTTP address that the handshake asks."""
    try:
        url = httpx2.URL(f"http{'s' if secure else ''}{remote.url[3 if secure else 2 :]}")
        return proxy_for(url, remote.network)
    except httpx2.InvalidURL:
        return ""  # the library says what is wrong with it


def _check_headers(remote: Remote) -> None:
    """Raise `McpFault` for a header that would end too early and begin another one."""
    for name, value in remote.headers.items():
        good = value.isascii() and value.isprintable() and bool(_TOKEN.fullmatch(name))
        if not good:
            raise McpFault(
                f"Server {remote.notes.server} cannot be sent the header {visible(name)}: "
                "it holds a line break or another character that no header may hold.",
                hint="Check its value; a key that was pasted may have an end of line too much.",
            )


def _trusted(server: str, network: Network) -> ssl.SSLContext:
    try:
        return trust(network.ca_file)
    except OSError as error:  # also what is no certificate
        raise McpFault(
            f"Server {server} cannot be reached: the certificates of SSL_CERT_FILE, "
            f"{visible(network.ca_file)}, cannot be used: {error.strerror or error}.",
            hint="Check the file, or unset SSL_CERT_FILE.",
        ) from None


def _not_connected(
    remote: Remote, error: Exception, proxy: str, secrets: Iterable[str]
) -> McpFault:
    """Return `error` as a fault."""
    reason, hint, away = _reason(remote, error, secrets)
    through = ""
    if proxy:
        through = f" through the proxy {shown(proxy).rstrip('/')}"
    what = f"could not be reached at {shown(remote.url)}{through}: {reason}"
    return fault(remote.notes.server, what, hint=hint, code=AWAY if away else "")


def _reason(remote: Remote, error: Exception, secrets: Iterable[str]) -> tuple[str, str, bool]:
    """Return why `error` came, what to do, and whether waiting may help."""
    if isinstance(error, exceptions.InvalidStatus):
        body = bytes(error.response.body or b"")
        return _status(remote, error.response.status_code, body, secrets)
    if isinstance(error, TimeoutError) and error.errno is None:
        return f"no answer within {remote.wait:g} s", "Is it the right address, and up?", True
    if isinstance(error, ssl.SSLError):
        hint = "Is it wss://? Its authority can be trusted with SSL_CERT_FILE."
        return trouble(error).words, hint, False
    if isinstance(error, OSError):
        hint = "Is the server running? Check `url` and the network."
        return trouble(_single(error)).words, hint, True
    if isinstance(error, exceptions.ProxyError | exceptions.InvalidProxy | ImportError):
        hint = "Check the proxy, or add the host to NO_PROXY."
        said = str(error) if not isinstance(error, exceptions.InvalidProxy) else error.msg
        return shortened(visible(said), 200), hint, isinstance(error, exceptions.ProxyError)
    if isinstance(error, exceptions.InvalidMessage) and isinstance(error.__cause__, EOFError):
        return "it closed the connection before it answered", "Is it a WebSocket server?", True
    if isinstance(error, exceptions.InvalidURI):
        return f"this is no address: {shortened(visible(error.msg), 200)}", "Check `url`.", False
    said = shortened(visible(str(error.__cause__ or error)), 200)
    return f"what answers is no WebSocket server ({said})", "Check `url` and `transport`.", False


def _status(
    remote: Remote, status: int, body: bytes, secrets: Iterable[str]
) -> tuple[str, str, bool]:
    said = body[:16_000].decode("utf-8", "replace").strip()
    for secret in secrets:
        if len(secret) > 3:
            said = said.replace(secret, "[redacted]")
    said = shortened(visible(said), 200)
    reason = f"it answered with HTTP status {status}" + (f": {said}" if said else "")
    if status in (401, 403):
        words = f"{remote.refused.words}: " if status == 401 and remote.refused.words else ""
        hint = remote.refused.hint or "It wants a key or a sign-in: check `headers`."
        return words + reason, hint, False
    if 300 <= status < 400:
        return reason, "It points to another address; Patina sends no key there. Set `url`.", False
    if status in _BUSY:
        return reason, "It may be overloaded; try again later.", True
    return reason, "Check `url` and `transport`; is it a WebSocket server?", False


def _single(error: OSError) -> OSError:
    """Return the first of the errors that asyncio tells as one, where a host has many addresses."""
    found = re.search(r"\[Errno (\d+)\]", str(error))
    return OSError(int(found[1]), "") if error.errno is None and found else error

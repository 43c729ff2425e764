"""The trace of what is said to and by servers (`--debug-mcp`): the logger `patina.mcp.wire`.

Headers of HTTP are never part of it, and neither are addresses, whose queries may hold keys.
"""

import logging
from collections.abc import Iterable
from typing import Any, Final

import msgspec

from patina.mcp.environment import may_be_secret
from patina.mcp.exchange import listener
from patina.mcp.text import visible

LONGEST: Final = 4096
MASK: Final = "***"
# Tables whose values may all be secrets, whatever their names.
_HIDDEN_TABLES: Final = frozenset({"env", "environment", "headers"})
_NAMES_OF_CREDENTIALS: Final = ("authorization", "cookie", "credential")
_logger: Final = logging.getLogger(__name__)


class Wire:
    """Tells the log, at level debug, of each JSON-RPC message of `server`, 4096 characters of it.

    `secrets` are values that never reach the log. Values under a name that may be a secret's are
    masked too. Nothing is formatted unless the logger listens, and nothing here raises. Whoever
    listens where the link is made (`exchange.heard_by`) hears all of it.
    """

    def __init__(self, server: str, secrets: Iterable[str] = ()) -> None:
        self._server = server
        self._secrets = sorted((text for text in secrets if len(text) > 3), key=len, reverse=True)
        self._listener = listener()

    def sent(self, line: bytes) -> None:
        """Tell of the message in `line`, which goes to the server."""
        if self._listener is not None:
            self._listener.sent(line)
        if _logger.isEnabledFor(logging.DEBUG):
            _logger.debug("to %s: %s", self._server, self._shown(line))

    def received(self, line: bytes) -> None:
        """Tell of the message in `line`, which came from the server."""
        if self._listener is not None:
            self._listener.received(line)
        if _logger.isEnabledFor(logging.DEBUG):
            _logger.debug("from %s: %s", self._server, self._shown(line))

    def _shown(self, line: bytes) -> str:
        try:
            message = self._masked(msgspec.json.decode(line), hide=False)
            text = visible(msgspec.json.encode(message).decode())
        except (msgspec.MsgspecError, UnicodeError, RecursionError):
            return f"(a message of {len(line)} bytes that cannot be shown)"
        if len(text) <= LONGEST:
            return text
        # Between two words: half a secret would pass the mask of the log.
        end = max(text.rfind(mark, 0, LONGEST) for mark in ('"', " "))
        return f"{text[: max(end, 0)]}… ({len(line)} bytes)"

    def _masked(self, value: Any, *, hide: bool) -> Any:  # noqa: ANN401 - JSON
        if isinstance(value, str):
            if hide and value:
                return MASK
            for secret in self._secrets:
                value = value.replace(secret, MASK)
            return value
        if isinstance(value, list):
            return [self._masked(inner, hide=hide) for inner in value]
        if isinstance(value, dict):
            return {
                name: self._masked(inner, hide=hide or _hides(name, inner))
                for name, inner in value.items()
            }
        return value


def _hides(name: str, value: object) -> bool:
    """Whether what stands under `name` is masked; a schema of that name is no secret."""
    lower = name.lower()
    if lower in _HIDDEN_TABLES:
        return True
    named = may_be_secret(name) or any(word in lower for word in _NAMES_OF_CREDENTIALS)
    return named and not isinstance(value, dict)

"""How a server wants to know its user (A-03), told by the variables that it asks for (A-10)."""

from collections.abc import Iterable
from typing import Final

from msgspec import Struct

from patina.model.packages import AuthType
from patina.model.settings import ServerSettings

_KEYS: Final = ("_TOKEN", "_API_KEY")
_CLIENT: Final = ("CLIENT_ID", "CLIENT_SECRET")
_SIGNS_IN: Final = frozenset({"client", "server", "client_credentials"})


class Variable(Struct, frozen=True):
    """A variable that a registry's entry asks for."""

    name: str
    is_secret: bool = False
    is_required: bool = False


def detect_auth(variables: Iterable[Variable]) -> AuthType:
    """Return how a server that asks for `variables` authenticates; the first that fits.

    a secret named *_TOKEN or *_API_KEY    api_key
    CLIENT_ID and CLIENT_SECRET            oauth
    any other secret                       api_key
    no secret                              none
    """
    asked = [(variable.name.upper(), variable.is_secret) for variable in variables]
    if any(secret and f"_{name}".endswith(_KEYS) for name, secret in asked):
        return "api_key"
    if all(any(name.endswith(part) for name, _ in asked) for part in _CLIENT):
        return "oauth"
    return "api_key" if any(secret for _, secret in asked) else "none"


def auth_type(settings: ServerSettings) -> AuthType:
    """Return how a configured server authenticates, in the words of A-03."""
    if settings.auth_mode in _SIGNS_IN:
        return "oauth"
    values = [*settings.env.values(), *settings.headers.values()]
    # A header may have a word before its reference, as in "Bearer secret:NAME".
    values += [value.partition(" ")[2] for value in settings.headers.values()]
    if any(value.startswith("keyfile:") for value in values):
        return "keyfile"
    return "api_key" if any(value.startswith(("secret:", "env:")) for value in values) else "none"

"""Whether a server says that tokens of a configured authorization server are meant for it.

Only then do they go there (P-05, P-09). Facts: RFC 9728 2 and 5.1, RFC 6750 3; several vendors put
`authorization_uri` into a challenge.
"""

from collections.abc import Mapping
from typing import Any, Final

from patina.mcp.auth.builtin import origin
from patina.mcp.auth.failing import SignInFault
from patina.mcp.auth.reading import place, quoted, texts
from patina.mcp.auth.shapes import Challenge

_SCHEMES: Final = ("bearer", "dpop")


def check_advertised(
    url: str,
    metadata: Mapping[str, Any] | None,
    challenge: Challenge | None,
    issuer: str,
    *,
    guessed: bool = False,
) -> None:
    """Raise `SignInFault` unless the server at `url` takes tokens of `issuer`, by its own word.

    Its `metadata` names the issuer, or its `challenge` a place on the origin of that. One without
    metadata (None) must have refused for want of a token, and must name nobody else. `guessed`:
    nobody said what the issuer is called, and its origin is all that can be compared.
    """
    named = texts(metadata or {}, "authorization_servers")
    hinted = challenge.authorization_uri if challenge else ""
    if any(_same(one, issuer, guessed=guessed) for one in named) or (
        hinted and origin(hinted) == origin(issuer)
    ):
        return
    if named or hinted:
        others = quoted(", ".join(named) or hinted)
        raise SignInFault(
            f"{place(url)} sends people to {others} to sign in, and you trust only"
            f" {quoted(issuer)}.",
            step="discovery",
            hint="Change `issuer`, `provider` or the endpoints in the `oauth` settings of the"
            " server if that is as it should.",
        )
    if metadata is None and challenge is not None and challenge.scheme.lower() in _SCHEMES:
        return
    raise SignInFault(
        f"{place(url)} does not say that people sign in to it with {quoted(issuer)}: it names"
        " nobody. So no token from there is sent to it.",
        step="discovery",
        hint="Ask whoever runs it to publish `authorization_servers` in its metadata (RFC 9728), or"
        " keep a token that is meant for it: `patina mcp token NAME`.",
    )


def _same(named: str, issuer: str, *, guessed: bool) -> bool:
    if guessed:
        return bool(origin(named)) and origin(named) == origin(issuer)
    return named.rstrip("/") == issuer.rstrip("/")

"""The way through the browser: the page a person is sent to, and the answer that comes back.

Facts: RFC 6749 4.1, RFC 7636 4 (PKCE), RFC 8707 2 (`resource`), RFC 9207 2 (`iss`).
"""

import re
from collections.abc import Mapping
from hmac import compare_digest
from typing import Final, Literal

from msgspec import Struct

from patina.mcp.auth.builtin import origin
from patina.mcp.auth.discovery import check_pkce
from patina.mcp.auth.failing import DENIED, SignInFault
from patina.mcp.auth.reading import check_address, place, quoted
from patina.mcp.auth.scopes import OFFLINE
from patina.mcp.auth.shapes import AuthServer, Client

CUSTOM_REDIRECT: Final = "patina://oauth/callback"
_MOST: Final = 16_384
_MOST_FIELDS: Final = 40
_ONCE: Final = ("state", "code", "error", "iss")
_CODE: Final = re.compile(r"[\x20-\x7e]+")

Verdict = Literal["good", "failed", "foreign"]


class Pending(Struct, kw_only=True):
    """A sign-in that waits for its answer, which `code_of` takes once.

    `url` is the page to send the person to. `issuer` is who must have answered; `says_issuer`:
    it promised to say so. `origin` is that of the page where nobody knows what it calls itself.
    """

    url: str
    state: str
    verifier: str
    redirect_uri: str
    issuer: str = ""
    says_issuer: bool = False
    origin: str = ""
    scope: str = ""
    used: bool = False


def begin(
    server: AuthServer,
    client: Client,
    *,
    redirect_uri: str,
    resource: str,
    scope: str,
    extra: Mapping[str, str] | None = None,
) -> Pending:
    """Return a new sign-in of `client` at `server`. `scope` is written as given, "" not at all.

    `extra` are further parameters that the server is known to need. Raises `SignInFault` where
    the server has no page for people, or one that nobody may be sent to.
    """
    from base64 import urlsafe_b64encode
    from hashlib import sha256
    from secrets import token_urlsafe
    from urllib.parse import quote, urlsplit

    page = server.authorization_endpoint
    if not page:
        raise SignInFault(
            f"{place(server.issuer)} has no page on which people sign in.", step="authorization"
        )
    check_address(page, "The page to sign in on", step="authorization", home=server.issuer or page)
    check_pkce(server)
    state, verifier = token_urlsafe(24), token_urlsafe(48)
    challenge = urlsafe_b64encode(sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    fields = {
        "response_type": "code",
        "client_id": client.client_id,
        "redirect_uri": redirect_uri,
        "scope": scope,
        "state": state,
        "code_challenge": challenge,
        "code_challenge_method": "S256",
        "resource": resource,
        **(extra or {}),
    }
    parts = urlsplit(page)
    given = _names(parts.query)
    if OFFLINE in scope.split() and "prompt" not in given:
        fields.setdefault("prompt", "consent")  # OpenID Connect Core 11
    if "#" in page or given & set(fields):
        raise SignInFault(
            f"The page to sign in on at {place(page)} has an address that says too much.",
            step="authorization",
        )
    query = "&".join(f"{name}={quote(text, safe=':,/')}" for name, text in fields.items() if text)
    return Pending(
        url=parts._replace(query=f"{parts.query}&{query}" if parts.query else query).geturl(),
        state=state,
        verifier=verifier,
        redirect_uri=redirect_uri,
        issuer=server.issuer,
        says_issuer=server.iss,
        origin=origin(page) if server.guessed else "",
        scope=scope,
    )


def code_of(pending: Pending, address: str) -> str:
    """Return the code in the `address` that a browser was sent to, or that somebody pasted.

    Takes one answer: `pending` is used up by the first with its state, good or bad. Raises
    `SignInFault`, with the code `DENIED` where the person said no. Words of whoever answered are
    shown only once it is known who that was.
    """
    fields = _fields(pending, address)
    if not _is_ours(pending, fields):
        raise _fault(
            "The answer is not that of this sign-in (its `state` is another).",
            "Nothing was taken from it. Sign in again, in the page that Patina opens.",
        )
    if pending.used:
        raise _fault("This sign-in was answered already.", "Sign in again.")
    pending.used = True
    _check_issuer(pending, fields)
    if "error" in fields:
        raise _refusal(fields)
    code = fields.get("code", "")
    if not _CODE.fullmatch(code):
        raise _fault("The answer of the sign-in has no code that can be used.", "Sign in again.")
    return code


def verdict(pending: Pending, address: str) -> Verdict:
    """Return what `code_of` would make of `address`, and use nothing up.

    "foreign" is for what does not belong to this sign-in, whose real answer may still come.
    """
    trial = Pending(
        url="",
        state=pending.state,
        verifier="",
        redirect_uri=pending.redirect_uri,
        issuer=pending.issuer,
        says_issuer=pending.says_issuer,
        origin=pending.origin,
    )
    try:
        code_of(trial, address)
    except SignInFault:
        return "failed" if trial.used else "foreign"
    return "good"


def _fields(pending: Pending, address: str) -> dict[str, str]:
    from urllib.parse import parse_qsl

    address = "".join(address.split())  # terminals break what is pasted
    if len(address) > _MOST:
        raise _fault("The answer of the sign-in is too long.", "Sign in again.")
    base, _, query = address.partition("#")[0].partition("?")
    if base != pending.redirect_uri:
        raise _fault(
            f"That is not the address this sign-in ends at, {quoted(pending.redirect_uri)}.",
            "Paste the whole address that the browser shows after signing in.",
        )
    try:
        pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=_MOST_FIELDS)
    except ValueError:
        raise _fault("The answer of the sign-in cannot be read.", "Sign in again.") from None
    names = [name for name, _ in pairs]
    if any(names.count(name) > 1 for name in _ONCE):
        raise _fault("The answer of the sign-in says something twice.", "Sign in again.")
    return dict(pairs)


def _is_ours(pending: Pending, fields: Mapping[str, str]) -> bool:
    state = fields.get("state", "").encode()
    return bool(pending.state) and compare_digest(state, pending.state.encode())


def _check_issuer(pending: Pending, fields: Mapping[str, str]) -> None:
    """Compare `iss` as it is written (RFC 9207 2.4); where it is only known who was asked, by
    where that is; where nothing is known there is nothing to compare.
    """
    if "iss" not in fields:
        if pending.says_issuer:
            raise _fault(
                "The answer does not say who gave it, as the authorization server promised.",
                "Do not sign in again before its operator knows: somebody may stand between.",
            )
    elif pending.origin and origin(fields["iss"]) == pending.origin:
        return
    elif pending.issuer and fields["iss"] != pending.issuer:
        raise _fault(
            f"The answer is not from {quoted(pending.issuer)}, where you were to sign in.",
            "Nothing was taken from it: somebody may want your sign-in for another server.",
        )


def _refusal(fields: Mapping[str, str]) -> SignInFault:
    error = quoted(fields["error"])
    if error == "access_denied":
        return SignInFault(
            "Authorization denied.",
            step="callback",
            hint="Sign in again and allow it, if that was not meant.",
            code=DENIED,
            error=error,
        )
    words = quoted(fields.get("error_description", ""), 300)
    return SignInFault(
        f"Signing in was refused: {error}{f' ({words})' if words else ''}.",
        step="callback",
        hint="Sign in again; `invalid_scope` is mended by the scope in the `oauth` settings.",
        error=error,
    )


def _fault(message: str, hint: str) -> SignInFault:
    return SignInFault(message, step="callback", hint=hint)


def _names(query: str) -> set[str]:
    from urllib.parse import parse_qsl

    return {name for name, _ in parse_qsl(query, keep_blank_values=True)}

"""The token endpoint of an authorization server, as one client asks it, and what it answers.

Facts: RFC 6749 2.3, 5 (clients, answers); RFC 7523 2.2; RFC 9449 5, 8 (proofs, nonces). GitHub
answers as a form unless asked for JSON, and with status 200 to errors.
"""

from collections.abc import Mapping
from math import isfinite
from typing import Any, Final

from patina.mcp.auth import dpop
from patina.mcp.auth.assertions import KIND, NO_SIGNING, Signing, client_assertion
from patina.mcp.auth.failing import SignInFault, Step
from patina.mcp.auth.reading import json_object, place, plain, said, text, unwell
from patina.mcp.auth.shapes import Answer, AuthServer, Client, Fetch, Tokens

_LONGEST: Final = 10 * 365 * 86400.0
# Errors after which the same may go well.
_PASSING: Final = ("temporarily_unavailable", "server_error", "slow_down")
# Errors that say: this is not the client. The last one is GitHub's.
UNKNOWN_CLIENT: Final = ("invalid_client", "unauthorized_client", "incorrect_client_credentials")
# Grants that a person gave.
_OF_PEOPLE: Final = ("authorization_code", "refresh_token")


class TokenEndpoint:
    """The endpoints of one authorization server, as one of its clients asks them."""

    def __init__(
        self,
        fetch: Fetch,
        server: AuthServer,
        client: Client,
        *,
        now: float,
        key: str = "",
        signing: Signing = NO_SIGNING,
        step: Step = "token",
    ) -> None:
        if client.issuer and client.issuer != server.issuer:
            raise SignInFault(
                f"The client of {place(client.issuer)} is nobody to {place(server.issuer)}.",
                step=step,
                hint="Sign in again.",
            )
        self._fetch, self._server, self._client = fetch, server, client
        self._now, self._key, self._signing, self._step = now, key, signing, step

    async def tokens(
        self, form: Mapping[str, str], *, scope: str, kept: Tokens | None = None
    ) -> Tokens:
        """Return the tokens that the token endpoint gives for `form`."""
        found = await self.ask(form)
        access = plain(found, "access_token")
        if not access:
            raise self._fault("gave no token that can be used")
        kind = {"": "Bearer", "bearer": "Bearer", "dpop": "DPoP"}.get(
            text(found, "token_type").lower()
        )
        if kind is None or (kind == "DPoP" and not self._key):
            raise self._fault("gave a token of a kind that Patina cannot use")
        return Tokens(
            access=access,
            kind=kind,
            refresh=plain(found, "refresh_token") or (kept.refresh if kept else ""),
            expires_at=end_of(found.get("expires_in"), self._now),
            scope=text(found, "scope") or scope,
            id_token=plain(found, "id_token") or (kept.id_token if kept else ""),
        )

    async def ask(self, form: Mapping[str, str]) -> dict[str, Any]:
        """Return what the token endpoint answers; with a nonce where it wants to see one."""
        if not self._server.token_endpoint:
            raise self._fault("has no token endpoint")
        answer = await self._post(self._server.token_endpoint, form)
        found = _answered(answer)
        if self._key and said(found)[0] == "use_dpop_nonce":
            nonce = plain(answer.headers, "dpop-nonce")
            answer = await self._post(self._server.token_endpoint, form, nonce=nonce)
            found = _answered(answer)
        if found is None or found.get("error") or not 200 <= answer.status < 300:
            by_person = form.get("grant_type") in _OF_PEOPLE
            raise self._refusal(answer, found, by_person=by_person)
        return found

    async def revoke(self, token: str, kind: str) -> None:
        """End one token."""
        form = {"token": token, "token_type_hint": kind}
        answer = await self._post(self._server.revocation_endpoint, form)
        found = _answered(answer)
        if not 200 <= answer.status < 300 or (found and found.get("error")):
            raise self._refusal(answer, found, "did not end the sign-in", by_person=True)

    async def _post(self, url: str, form: Mapping[str, str], *, nonce: str = "") -> Answer:
        from urllib.parse import urlencode

        headers = {
            "content-type": "application/x-www-form-urlencoded",
            "accept": "application/json",
        }
        fields = {name: value for name, value in form.items() if value}
        self._identify(headers, fields)
        if self._key:
            headers["dpop"] = dpop.proof(self._key, "POST", url, nonce=nonce, now=self._now)
        return await self._fetch("POST", url, headers=headers, body=urlencode(fields).encode())

    def _identify(self, headers: dict[str, str], fields: dict[str, str]) -> None:
        """Add who the client is, in the way that it has for this server."""
        from base64 import b64encode
        from urllib.parse import quote_plus

        client = self._client
        if client.method == "client_secret_basic":
            pair = f"{quote_plus(client.client_id)}:{quote_plus(client.secret)}"
            headers["authorization"] = f"Basic {b64encode(pair.encode()).decode()}"
            return
        fields["client_id"] = client.client_id
        if client.method == "client_secret_post":
            fields["client_secret"] = client.secret
        elif client.method == "private_key_jwt":
            audience = self._server.issuer or self._server.token_endpoint
            fields["client_assertion_type"] = KIND
            fields["client_assertion"] = client_assertion(
                self._signing, client.client_id, audience, self._now
            )

    def _refusal(
        self,
        answer: Answer,
        found: dict[str, Any] | None,
        what: str = "refused",
        *,
        by_person: bool,
    ) -> SignInFault:
        error, words = said(found)
        why = words or f"HTTP status {answer.status}"
        # A gateway's page, or that of a hotel's network, says nothing about the grant.
        final = bool(error) and error not in _PASSING and not unwell(answer.status)
        hint = "Sign in again." if by_person else "Check the `oauth` settings of the server."
        hint = hint if final else "Try again in a moment."
        if error in UNKNOWN_CLIENT:
            hint = "Check `client_id`, `client_secret` and `private_key` in the `oauth` settings."
        return self._fault(f"{what}: {why}", hint=hint, error=error, final=final)

    def _fault(
        self, what: str, *, hint: str = "", error: str = "", final: bool = True
    ) -> SignInFault:
        return SignInFault(
            f"{place(self._server.issuer)} {what}.",
            step=self._step,
            hint=hint,
            error=error,
            final=final,
        )


def end_of(expires_in: object, now: float) -> float | None:
    """Return when a token ends that lasts `expires_in` seconds; None where that says nothing.

    Servers write it as a number, as text, or as nonsense. Ten years are the most.
    """
    if isinstance(expires_in, bool) or not isinstance(expires_in, (int, float, str)):
        return None
    try:
        seconds = float(expires_in if not isinstance(expires_in, str) else expires_in[:32])
    except (ValueError, OverflowError):
        return None
    return now + min(seconds, _LONGEST) if isfinite(seconds) and seconds > 0 else None


def _answered(answer: Answer) -> dict[str, Any] | None:
    """Return the fields of an answer, JSON or a form; None where it is neither."""
    from urllib.parse import parse_qsl

    found = json_object(answer)
    if found is not None:
        return found
    kind = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in ("application/x-www-form-urlencoded", "text/plain"):
        return None
    try:
        return dict(parse_qsl(answer.body.decode(), max_num_fields=50)) or None
    except ValueError:
        return None

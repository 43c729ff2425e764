"""The credentials of the requests to one remote server, renewed as they go."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from patina.mcp.auth.builtin import origin
from patina.mcp.auth.failing import SignInFault
from patina.mcp.auth.keeping import Held
from patina.mcp.auth.modes import is_machine, mode, wants_token
from patina.mcp.auth.shapes import Challenge, Grant
from patina.model.faults import ConfigFault
from patina.model.settings import ServerSettings

# How often one request is sent in all, whatever the server answers.
MOST_ATTEMPTS: Final = 3


class ServerAuthority:
    """`transports.authority.Authority` over what is kept of the sign-in to a server.

    `told` is called after a refusal was heard.
    """

    def __init__(
        self, held: Held, settings: ServerSettings, told: Callable[[], Awaitable[None]]
    ) -> None:
        self._told = told
        self._held = held
        self._settings = settings
        self._origin = origin(settings.url)
        # The access token ("" is none) that was there when a sign-in was wanted.
        self._wanted: str | None = None

    @property
    def wanted(self) -> bool:
        """Whether the last refusal was for want of a sign-in, which a person could mend.

        It is over once there is another token.
        """
        return self._wanted is not None and self._wanted == self._access

    async def headers(self, method: str, url: str) -> Mapping[str, str]:
        """Return what a request is to carry; {} before a sign-in, and for any other origin.

        Raises `SignInFault`: see `renewing.fresh`.
        """
        if origin(url) != self._origin:
            return {}
        from patina.mcp.auth.renewing import fresh

        try:
            grant = await fresh(self._held, self._settings)
        except SignInFault:
            self._wanted = None
            raise
        return {} if grant is None else credentials(self._held, grant, method, url)

    async def heard(
        self, status: int, answer: Mapping[str, str], sent: Mapping[str, str], attempt: int
    ) -> bool:
        """Hear an answer; true: send the request again, its token was renewed in between."""
        from patina.mcp.auth.challenge import challenge_of
        from patina.mcp.auth.renewing import remember_scope

        nonce = answer.get("dpop-nonce", "")
        is_new = bool(nonce) and nonce != self._held.nonce
        if nonce:
            self._held.nonce = nonce
        if status not in (401, 403):
            return False
        refusal = challenge_of(status, answer)
        if refusal.error == "use_dpop_nonce":
            return is_new and attempt < MOST_ATTEMPTS
        if wants_token(refusal):
            self._held.refusal = refusal
        wanted = again = False
        try:
            again = await self._mended(refusal, _token(sent), attempt)
            kept = await self._held.grant(self._settings)
            wanted = not again and self._could_help(refusal, signed_in=kept is not None)
            if wanted and kept is not None and refusal.status == 403:
                await remember_scope(self._held, refusal.scope)
            await self._told()
        except SignInFault as fault:
            # Where waiting may help, nobody is called.
            wanted = fault.final and not is_machine(self._settings)
        except ConfigFault:
            pass  # `headers` says what is wrong with what is kept
        self._wanted = self._access if wanted else None
        return again

    @property
    def _access(self) -> str:
        grant = self._held.last(self._settings)
        return grant.tokens.access if grant else ""

    async def _mended(self, refusal: Challenge, token: str, attempt: int) -> bool:
        """Whether there is a token now that the server may take."""
        from patina.mcp.auth.renewing import fresh

        if attempt >= MOST_ATTEMPTS:
            return False
        held, settings = self._held, self._settings
        renews = refusal.status == 401 and attempt == 1 and not held.is_hopeless(token)
        if renews and (token or is_machine(settings)):
            grant = await fresh(held, settings, refused=token)
        else:
            # More scope is a person's to give, and so is a token in place of one that was just
            # renewed: perhaps that was done in another window.
            grant = await held.grant(settings, anew=True)
        mended = grant is not None and grant.tokens.access not in ("", token)
        if refusal.status == 401 and token and not mended:
            held.give_up(token)
        return mended

    def _could_help(self, refusal: Challenge, *, signed_in: bool) -> bool:
        if is_machine(self._settings) or not wants_token(refusal):
            return False
        return signed_in or mode(self._settings, refusal) == "client"


def credentials(held: Held, grant: Grant, method: str, url: str) -> dict[str, str]:
    """Return the headers that show the access token of `grant` (RFC 6750, RFC 9449)."""
    tokens = grant.tokens
    if not (grant.key and tokens.kind.lower() == "dpop"):
        return {"Authorization": f"Bearer {tokens.access}"}
    from patina.mcp.auth.dpop import proof

    made = proof(
        grant.key, method, url, token=tokens.access, nonce=held.nonce, now=held.means.now()
    )
    return {"Authorization": f"DPoP {tokens.access}", "DPoP": made}


def _token(sent: Mapping[str, str]) -> str:
    """Return the token that was sent, "" where there was none."""
    return sent.get("Authorization", "").partition(" ")[2]

"""One sign-in of a person: from whom to ask, over the page in the browser, to tokens on disk."""

from collections.abc import Callable
from contextlib import AsyncExitStack, nullcontext, suppress
from secrets import token_urlsafe
from typing import Final

import anyio
from msgspec.structs import replace

from patina.mcp.auth.account import account_of
from patina.mcp.auth.answering import Answering
from patina.mcp.auth.authority import credentials
from patina.mcp.auth.authorization import CUSTOM_REDIRECT, Pending, begin, code_of
from patina.mcp.auth.builtin import service_of
from patina.mcp.auth.failing import TIMED_OUT, SignInFault, Step
from patina.mcp.auth.finding import fetching, find, refusal_of, signing_of, wish_of
from patina.mcp.auth.keeping import Held, serves, spent
from patina.mcp.auth.loopback import Loopback
from patina.mcp.auth.machine import proof_key
from patina.mcp.auth.registration import Wish, client_for, forget_client
from patina.mcp.auth.returning import listener
from patina.mcp.auth.scopes import choose, covers, union
from patina.mcp.auth.shapes import Challenge, Client, Discovered, Fetch, Grant, Tokens
from patina.mcp.auth.token_endpoint import UNKNOWN_CLIENT
from patina.mcp.auth.tokens import exchange
from patina.mcp.auth.visiting import Visitor
from patina.model.faults import ConfigFault
from patina.model.pages import Page, page_of
from patina.model.settings import ServerSettings

# What keeping new tokens may take, cancelled or not.
_MOST: Final = 30.0
# And what ending registrations may.
_MOST_TIDYING: Final = 5.0


class Flow:
    """A sign-in of a person to `held.server`. `told` is given each step, and the page of it."""

    def __init__(
        self,
        held: Held,
        settings: ServerSettings,
        visitor: Visitor,
        told: Callable[[Step, Page | None], None],
    ) -> None:
        self._held = held
        self._settings = settings
        self._visitor = visitor
        self._told = told
        self._before: Grant | None = None
        self._refusal: Challenge | None = None
        self._made: Grant | None = None  # with nothing but a client, if that was registered now
        self._doubtful = False  # whether the authorization server may not know the client any more
        self.step: Step = "discovery"

    async def run(self) -> Grant:
        """Return the grant, which is on disk: of this sign-in, or of another window's that was
        faster.

        Raises `SignInFault`, `UsageFault` for a page that nobody may be sent to, and `ConfigFault`;
        `step` then says how far it came.
        """
        self._before = await self._held.kept(anew=True)
        async with fetching(self._held.means, self._settings) as fetch:
            try:
                return await self._run(fetch)
            except SignInFault as fault:
                unknown = fault.error in UNKNOWN_CLIENT
                self._doubtful = unknown or fault.failure.code == TIMED_OUT
                raise
            finally:
                await self._tidied(fetch)

    async def _run(self, fetch: Fetch) -> Grant:
        self._at("discovery")
        await self._refused(fetch)
        found = await find(fetch, self._settings, self._refusal)
        await self._leave_others(found)
        async with AsyncExitStack() as stack:
            at = await self._listener(stack, found)
            if isinstance(at, Grant):
                return at
            redirect_uri = at.redirect_uri if at else CUSTOM_REDIRECT
            self._at("registration")
            wish = await self._wish(found, redirect_uri)
            client = await self._client(fetch, found, wish)
            self._at("authorization")
            pending = begin(
                found.server,
                client,
                redirect_uri=redirect_uri,
                resource=found.resource,
                scope=wish.scope,
            )
            answer = await self._answer(pending, at)
            if isinstance(answer, Grant):
                return answer
            async with at.telling() if at else nullcontext():
                code = code_of(pending, answer)
                self._at("token")
                grant = await self._exchanged(fetch, found, client, wish, pending, code)
        with suppress(ConfigFault):  # the sign-in is kept, which is what counts
            return await self._with_account(fetch, grant)
        return grant

    async def _listener(self, stack: AsyncExitStack, found: Discovered) -> Loopback | Grant | None:
        async def elsewhere() -> Grant | None:
            return await self._elsewhere((await self._wish(found, "")).scope)

        client = self._before.client if self._before else None
        return await listener(stack, self._held.means, self._settings.oauth, client, elsewhere)

    def _at(self, step: Step, page: Page | None = None) -> None:
        self.step = step
        self._told(step, page)

    async def _refused(self, fetch: Fetch) -> None:
        """Find out what the server wants: perhaps another process was refused for want of it."""
        self._refusal = self._held.refusal or await refusal_of(fetch, self._settings)
        wanted = self._before.wanted if self._before else ""
        if wanted:
            said = self._refusal or Challenge()
            scope = union(wanted, said.scope if said.status == 403 else "")
            self._refusal = replace(said, status=403, scope=scope)

    async def _leave_others(self, found: Discovered) -> None:
        """Drop what another authorization server gave: it is of no use any more, and nothing of
        it is for the new one to know.
        """
        held, before = self._held, self._before
        if before is None or before.server.issuer in ("", found.server.issuer):
            return
        self._before = None
        async with held.lock, held.means.grants.alone(held.server):
            now = await held.kept(anew=True)
            if now is not None and now.server.issuer == before.server.issuer:
                await held.keep(None)

    async def _wish(self, found: Discovered, redirect_uri: str) -> Wish:
        oauth = self._settings.oauth
        service = service_of(oauth)
        scope = choose(
            found,
            self._refusal,
            configured=oauth.scope or (service.scope if service else ""),
            asked=self._before.asked if self._before else "",
        )
        return await wish_of(self._held.means, self._settings, redirect_uri, scope)

    async def _client(self, fetch: Fetch, found: Discovered, wish: Wish) -> Client:
        kept = self._before.client if self._before else None
        now = self._held.means.now()
        client = await client_for(fetch, found.server, wish, kept, now=now)
        if client.origin == "registered" and client is not kept:
            url, none = self._settings.url, Tokens(access="")
            self._made = Grant(url=url, server=found.server, client=client, tokens=none)
        return client

    async def _tidied(self, fetch: Fetch) -> None:
        """End registrations that no sign-in uses. The new one of a sign-in that failed is for the
        next, where there is no other: many servers cannot end them. One that is of no use any more
        is forgotten: people are told so on a page from which nobody comes back.
        """
        held, made, before = self._held, self._made, self._before
        if made is None and not self._doubtful:
            return
        with (
            anyio.move_on_after(_MOST_TIDYING, shield=True),
            suppress(SignInFault, ConfigFault),
        ):
            async with held.lock, held.means.grants.alone(held.server):
                now = await held.kept(anew=True)
                if now is None:
                    await held.keep(made)
                    return
                if made is None:
                    if now.client.origin == "registered" and now == spent(now):
                        await held.keep(replace(now, client=Client(client_id="")))
                    return
            used = now.client.client_id
            for client in (made.client, before.client if before else made.client):
                if client.client_id != used:
                    await forget_client(fetch, client)

    async def _answer(self, pending: Pending, listener: Loopback | None) -> str | Grant:
        page = page_of(pending.url)
        self._at("authorization", page)
        answering = Answering(
            pending,
            self._visitor,
            listener,
            elsewhere=lambda: self._elsewhere(pending.scope),
            opened=lambda: self._at("callback", page),
        )
        seconds = self._settings.oauth.timeout
        answer = await answering.answer(page, self._held.means.clock, seconds)
        self._at("callback", page)
        return answer

    async def _elsewhere(self, scope: str) -> Grant | None:
        """Return the grant of a sign-in that another window made meanwhile."""
        held, before = self._held, self._before
        grant = await held.grant(self._settings, anew=True)
        if grant is None or not grant.sign_in or not serves(grant, held.means.now()):
            return None
        is_new = grant.sign_in != (before.sign_in if before else "")
        return grant if is_new and covers(grant.asked, scope) else None

    async def _exchanged(
        self,
        fetch: Fetch,
        found: Discovered,
        client: Client,
        wish: Wish,
        pending: Pending,
        code: str,
    ) -> Grant:
        now = self._held.means.now()
        key = proof_key(self._refusal, found.server.dpop)
        tokens = await exchange(
            fetch,
            found.server,
            client,
            pending,
            code,
            resource=found.resource,
            now=now,
            key=key,
            signing=signing_of(wish),
        )
        grant = Grant(
            url=self._settings.url,
            server=found.server,
            client=client,
            tokens=tokens,
            resource=found.resource,
            asked=wish.scope,
            key=key,
            sign_in=token_urlsafe(12),
            given_at=now,
        )
        with anyio.move_on_after(_MOST, shield=True) as limit:
            await self._keep(grant)
        if limit.cancelled_caught:
            said = f"The sign-in could not be kept within {_MOST:g} s."
            raise SignInFault(said, step="token", hint="Sign in again.")
        return grant

    async def _keep(self, grant: Grant) -> None:
        async with self._held.lock, self._held.means.grants.alone(self._held.server):
            await self._held.keep(grant)

    async def _with_account(self, fetch: Fetch, grant: Grant) -> Grant:
        """Return `grant` with who signed in: told to people, and needed for nothing else."""
        held, where = self._held, grant.server.userinfo_endpoint
        shown = credentials(held, grant, "GET", where)
        account = await account_of(fetch, grant, shown)
        if not account:
            return grant
        async with held.lock, held.means.grants.alone(held.server):
            now = await held.kept(anew=True)
            if now is None or now.sign_in != grant.sign_in:
                return grant
            named = replace(now, account=account)
            await held.keep(named)
        return named

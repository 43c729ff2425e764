"""How far sign-ins are, as what people are shown: `model.sign_in.SignIn`."""

from patina.mcp.auth.builtin import provider_name
from patina.mcp.auth.failing import DENIED, TIMED_OUT, SignInFault
from patina.mcp.auth.keeping import Held, serves
from patina.mcp.auth.modes import is_machine, mode
from patina.mcp.auth.shapes import Grant
from patina.model.faults import Fault
from patina.model.pages import Page
from patina.model.settings import ServerSettings
from patina.model.sign_in import SignIn, SignInState


def rests(held: Held, settings: ServerSettings, grant: Grant | None) -> SignIn:
    """Return the state of a server that nobody signs in to just now, with its `grant`."""
    provider = provider_name(settings.oauth, grant.server.issuer if grant else "")
    refused = grant is not None and held.is_refused(grant.tokens.access)
    if grant is not None and not refused and serves(grant, held.means.now()):
        return SignIn(
            server=held.server,
            state="connected",
            provider=provider,
            account=grant.account,
            scope=grant.tokens.scope,
        )
    signs = mode(settings, held.refusal) == "client" or is_machine(settings) or grant is not None
    state: SignInState = "disconnected" if signs else "none"
    return SignIn(server=held.server, state=state, provider=provider if signs else "")


def underway(server: str, settings: ServerSettings, step: str, page: Page | None = None) -> SignIn:
    """Return the state of a sign-in that is at `step`; `page` is the one that is waited for."""
    return SignIn(
        server=server,
        state="authorizing",
        provider=provider_name(settings.oauth),
        step=step,
        host=page.host if page else "",
        url=page.url if page else "",
        until=settings.oauth.timeout if page else 0.0,
    )


def ended(server: str, settings: ServerSettings, fault: Fault, step: str) -> SignIn:
    """Return the state of a sign-in that came as far as `step`, and ended with `fault`."""
    failure = fault.failure
    states: dict[str, SignInState] = {DENIED: "denied", TIMED_OUT: "timeout"}
    at = (fault.step if isinstance(fault, SignInFault) else "") or step
    return SignIn(
        server=server,
        state=states.get(failure.code, "error"),
        provider=provider_name(settings.oauth),
        step=at,
        message=failure.message,
        hint=failure.hint,
        until=settings.oauth.timeout if failure.code == TIMED_OUT else 0.0,
    )

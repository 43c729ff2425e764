"""Whether somebody is signed in to a server, for lists of servers."""

from typing import TYPE_CHECKING

from patina.model.faults import ConfigFault
from patina.model.sign_in import SignIn
from patina.views.sign_in import sign_in_words

if TYPE_CHECKING:
    from patina.assembly.app import App
    from patina.mcp.auth.sign_ins import SignIns


async def signed_in(app: "App", server: str) -> tuple[SignIn, str]:
    """Return the sign-in to `server` and the few words for it.

    Nobody can sign in, it seems, to one that never refused anybody and whose settings do not say
    so. Never raises for what is kept and cannot be read: the words say that.
    """
    if app.sign_ins is None:
        return SignIn(server=server), ""
    try:
        found = await app.sign_ins.state(server, app.supervisor.servers[server])
    except ConfigFault as fault:
        return SignIn(server=server, state="error", message=str(fault)), str(fault)
    return found, sign_in_words(found)


def sign_ins_of(app: "App") -> "SignIns":
    """Return the sign-ins of an app that `cli.running` built: it always has them."""
    assert app.sign_ins is not None
    return app.sign_ins

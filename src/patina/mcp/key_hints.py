"""What a person can do where a server refuses the key that its settings hold, or wants one."""

from patina.mcp.transports.remote import Refused
from patina.model.settings import ServerSettings


def refused(server: str, settings: ServerSettings) -> Refused:
    """Return what to say of a refusal that no sign-in of Patina's can mend."""
    token = f"`patina mcp token {server}`"
    for name, value in settings.headers.items():
        # A word may stand before a reference, as in "Bearer secret:NAME".
        kind, colon, rest = value.rpartition(" ")[2].partition(":")
        if colon and kind == "secret":
            hint = f"Replace it: `patina keys set {rest}`, or {token}."
        elif colon and kind == "env":
            hint = f"Set {rest} to one that is valid, or keep one: {token}."
        elif colon and kind == "keyfile":
            hint = f"Write one that is valid into {rest}, or keep one: {token}."
        elif name.lower() == "authorization":
            hint = f"Replace it: {token}."
        else:
            continue
        return Refused("its key was refused", hint)
    hint = f"Give it a key: {token}."
    if settings.auth_mode == "none":
        hint += f" Or let it ask for a sign-in: `patina mcp edit {server} --auth-mode auto`."
    return Refused("it wants a key", hint)

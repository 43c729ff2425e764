"""What was seen of a server that does not run, and what is made of it."""

from msgspec import Struct

from patina.mcp.exchange import Exchange
from patina.mcp.look import Look
from patina.model.faults import Failure
from patina.model.settings import ServerSettings
from patina.model.sign_in import SignIn


class Diagnosis(Struct, frozen=True):
    """Why a server does not run: a kind for programs, a sentence and what to do for people."""

    kind: str
    sentence: str
    hint: str


class Facts(Struct, frozen=True, kw_only=True):
    """What was seen. `failure` is what connecting ended with.

    `opened`: a process was started, or a connection made. `words` are the link's last ones and
    `lines` what the server said beside the protocol, newest last. `withheld` are the names of
    variables that it was not given, `look` a look at a remote server. `sign_in` is how far the
    sign-in to it is, None where nobody can sign in.
    """

    server: str
    settings: ServerSettings
    failure: Failure
    opened: bool = False
    words: str = ""
    rubbish: str = ""
    lines: tuple[str, ...] = ()
    exchanges: tuple[Exchange, ...] = ()
    withheld: frozenset[str] = frozenset()
    look: Look | None = None
    sign_in: SignIn | None = None

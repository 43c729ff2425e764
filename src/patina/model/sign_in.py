"""How far the sign-in to a server is."""

from typing import Literal

from msgspec import Struct

# "none": nobody can sign in to it; "disconnected": somebody could.
SignInState = Literal[
    "none", "disconnected", "authorizing", "connected", "denied", "timeout", "error"
]


class SignIn(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The sign-in to the server `server`. `views.sign_in` has the words for it.

    `provider` is who signs people in, such as "GitHub"; `account` who is signed in, such as
    "@name"; `scope` what was granted. In the state "error" `step` names what failed and `message`
    says why; while "authorizing", `host` and `url` are the page that is waited for, `until` the
    seconds that are given for it.
    """

    server: str
    state: SignInState = "none"
    provider: str = ""
    account: str = ""
    scope: str = ""
    step: str = ""
    message: str = ""
    hint: str = ""
    host: str = ""
    url: str = ""
    until: float = 0.0

"""What goes wrong while somebody signs in, and what is to be done."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, Literal

from patina.model.faults import McpFault

# The code of the fault of a request that a sign-in would let pass.
SIGN_IN: Final = "sign_in"
# Those of sign-ins that a person ended, or did not come to: `model.sign_in` has words for them.
DENIED: Final = "denied"
TIMED_OUT: Final = "timed_out"
CANCELLED: Final = "cancelled"

Step = Literal["discovery", "registration", "authorization", "callback", "token", "refresh"]


class SignInFault(McpFault):
    """A sign-in, or the renewal of one, failed at `step`, "" where only a caller knows which.

    `final`: trying the same again cannot help; a person has to sign in, or to change something.
    `error` is the code that the authorization server gave (RFC 6749 5.2), "" where none.
    """

    def __init__(
        self,
        message: str,
        *,
        step: Step | Literal[""],
        hint: str = "",
        code: str = "",
        error: str = "",
        final: bool = True,
    ) -> None:
        super().__init__(message, hint=hint, code=code)
        self.step = step
        self.error = error
        self.final = final


@contextmanager
def stepping(step: Step) -> Iterator[None]:
    """Have faults of the block that know no step be of `step`."""
    try:
        yield
    except SignInFault as fault:
        fault.step = fault.step or step
        raise

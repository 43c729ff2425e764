"""What lets requests to one remote server pass."""

from collections.abc import Mapping
from typing import Protocol


class Authority(Protocol):
    """The credentials of one server, for the origin of its address and no other."""

    async def headers(self, method: str, url: str) -> Mapping[str, str]:
        """Return what a request is to carry beside the configured headers; {} before a sign-in.

        Renews what is about to end. Bounded. Raises `SignInFault` where that failed and a person
        has to do something; where waiting may help, it returns what there is.
        """

    async def heard(
        self, status: int, answer: Mapping[str, str], sent: Mapping[str, str], attempt: int
    ) -> bool:
        """Hear what a server answered to a request that carried `sent` (of `headers`).

        `answer` are its headers, in small letters; `attempt` counts from 1. True: the request is
        worth sending once more, with `headers` asked for anew. Call it for every 401 and 403, and
        for others where `answer` has a `dpop-nonce`. Bounded; never raises.
        """

    @property
    def wanted(self) -> bool:
        """Whether the last refusal was for want of a sign-in, which a person could mend."""

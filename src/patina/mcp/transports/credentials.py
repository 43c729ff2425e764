"""The credentials of requests to one remote server: what they carry, what becomes of a refusal."""

from collections.abc import Mapping
from typing import Final

from patina.mcp.auth.failing import SIGN_IN
from patina.mcp.failing import Told
from patina.mcp.transports.remote import Remote
from patina.model.faults import Fault

# How often a request may be sent in all, credentials renewed in between.
MOST_SENDS: Final = 3
_NONCE: Final = "dpop-nonce"
_REMEMBERED: Final = 8  # values that no error text may show


class Credentials:
    """What `remote.auth` says, for every transport alike. Without it, nothing is added."""

    def __init__(self, remote: Remote) -> None:
        self._auth = remote.auth
        self._refused = remote.refused
        self._secrets = remote.notes.secrets
        self._sent: dict[str, None] = {}

    @property
    def may_change(self) -> bool:
        """Whether a request that is refused now may pass later."""
        return self._auth is not None

    @property
    def secrets(self) -> tuple[str, ...]:
        """What no text may show of the last requests."""
        return (*self._secrets, *self._sent)

    async def headers(self, method: str, url: str) -> Mapping[str, str]:
        """Return what a request carries. Raises the `Fault`s of `Authority.headers`."""
        if self._auth is None:
            return {}
        found = await self._auth.headers(method, url)
        for value in found.values():
            bare = value.rpartition(" ")[2]
            self._sent.pop(bare, None)
            self._sent[bare] = None
        while len(self._sent) > _REMEMBERED:
            del self._sent[next(iter(self._sent))]
        return found

    async def again(
        self, status: int, answer: Mapping[str, str], sent: Mapping[str, str], attempt: int
    ) -> bool:
        """Hear an answer to the request that was sent for the `attempt`th time with `sent`.

        `answer` are its headers, in any letters. True: it is to be sent anew, with new `headers`.
        """
        if self._auth is None:
            return False
        lower = {name.lower(): value for name, value in answer.items()}
        refused = status in (401, 403)
        if not refused and _NONCE not in lower:
            return False
        worth = await self._auth.heard(status, lower, sent, attempt)
        return worth and status >= 400 and attempt < MOST_SENDS

    def refusal(self, status: int, challenge: str) -> Told:
        """Return the `data` of the error of a request that was answered with `status`.

        `challenge` is its `WWW-Authenticate`.
        """
        told = Told(status=status, www_authenticate=challenge)
        if status not in (401, 403):
            return told
        if self._auth is not None and self._auth.wanted:
            told["sign_in"] = True
        elif self._refused.hint:
            told["hint"] = self._refused.hint
            if status == 401:
                told["words"] = self._refused.words
        return told

    def fault(self, fault: Fault) -> Told:
        """Return the `data` of the error of a request that `headers` let nobody send."""
        if fault.failure.code == SIGN_IN:
            return Told(sign_in=True)
        return Told(failure=fault.failure)

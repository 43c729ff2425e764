"""Static credentials of a remote server that may be replaced while Patina runs (M-24)."""

from collections.abc import Callable, Mapping

import anyio.to_thread

from patina.model.faults import Fault


class KeptHeaders:
    """Implements `Authority` for headers that refer to kept secrets.

    `headers` are those of the start, `resolve` finds them anew, in a worker thread. A request that
    was refused with an old one is sent again with the new one.
    """

    def __init__(
        self, headers: Mapping[str, str], resolve: Callable[[], Mapping[str, str]]
    ) -> None:
        self._first = headers
        self._now = headers
        self._resolve = resolve

    async def headers(self, method: str, url: str) -> Mapping[str, str]:
        """As `Authority.headers`: what differs from the headers of the start."""
        return {name: value for name, value in self._now.items() if value != self._first[name]}

    async def heard(
        self, status: int, answer: Mapping[str, str], sent: Mapping[str, str], attempt: int
    ) -> bool:
        """As `Authority.heard`: whether one was replaced since."""
        if status not in (401, 403):
            return False
        try:
            fresh = await anyio.to_thread.run_sync(self._resolve)
        except Fault:
            return False  # it is said when the server is connected anew
        self._now, before = fresh, self._now
        return fresh != before

    @property
    def wanted(self) -> bool:
        """As `Authority.wanted`: no sign-in mends a wrong key."""
        return False

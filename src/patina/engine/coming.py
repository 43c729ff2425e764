"""How much of an answer came so far, as far as that can be known before its provider says."""

from typing import Final

from patina.engine.estimate import text_tokens

# Reasoning that is not shown takes its time: a pause of more than so many seconds may be some, at
# no more than so many tokens a second. (Models that are faster show what they think.)
PAUSE: Final = 1.0
UNSEEN: Final = 250
# An endpoint that writes so much more than it may is stopped.
OVER: Final = 2
OVER_TOKENS: Final = 1_000


class Coming:
    """Counts the tokens of one answer, of which at most `most` were asked for.

    `factor` is by what estimates of its model are to be multiplied. Times are in seconds.
    """

    def __init__(self, most: int, factor: float = 1.0) -> None:
        self._bound = OVER * most + OVER_TOKENS
        self._factor = factor
        self._pieces: list[str] = []  # that are not in `_tokens` yet
        self._tokens = 0.0
        self._length = 0
        self._look_at = self._bound // 2  # characters; fewer cannot be too much
        self._newest = 0.0
        self._silent = 0.0

    def begin(self, now: float) -> None:
        """Count from `now` on."""
        self._newest = now

    def take(self, text: str, now: float) -> None:
        """Count a piece that came `now`."""
        self._pieces.append(text)
        self._length += len(text)
        self.wait(now)

    def wait(self, now: float) -> None:
        """Count the time since something came."""
        pause, self._newest = now - self._newest, now
        if pause > PAUSE:
            self._silent += pause

    @property
    def tokens(self) -> float:
        """About how many tokens came."""
        if self._pieces:
            self._tokens += text_tokens(*self._pieces) * self._factor
            self._pieces.clear()
        return self._tokens

    @property
    def unseen(self) -> float:
        """About how many tokens of reasoning can have been made without being shown."""
        return self._silent * UNSEEN

    @property
    def is_over(self) -> bool:
        """Whether the endpoint surely wrote more than it may."""
        if self._length < self._look_at:
            return False
        self._look_at = self._length + max(self._bound // 8, 1)
        return self.tokens > self._bound

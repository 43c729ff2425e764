"""How a turn is to be run."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Literal

from msgspec import Struct

Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]


class TurnOptions(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How a turn is to be run.

    `servers` limits the tools to those servers (None: all enabled, (): none). `max_replies` is
    the number of model replies after which the turn stops; `timeout` the seconds of silence a
    request may have. `effort` and `temperature` None leave it to the model. `schema` is the JSON
    Schema that the last answer has to fit. `budget` is USD for all turns that name the same `run`
    ("" is this turn alone).
    """

    temperature: float | None = None
    max_tokens: int | None = None
    effort: Effort | None = None
    servers: tuple[str, ...] | None = None
    max_replies: int | None = None
    timeout: float | None = None
    schema: Mapping[str, Any] | None = None
    budget: Decimal | None = None
    run: str = ""

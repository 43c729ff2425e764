"""The permission gate."""

from collections.abc import Mapping
from typing import Any, Protocol

from msgspec import Struct

from patina.model.chat import ToolInfo
from patina.model.items import Choice


class Allow(Struct, frozen=True):
    """Run it. `rule` names what allows it."""

    rule: str


class Deny(Struct, frozen=True):
    """Do not run it. The model is told `reason`."""

    rule: str
    reason: str


class AskUser(Struct, frozen=True):
    """A person decides between `options`."""

    options: tuple[Choice, ...]
    reason: str


Verdict = Allow | Deny | AskUser


class Gate(Protocol):
    """Decides about tool calls. Pure: the same question has the same answer."""

    def decide(
        self, tool: ToolInfo, arguments: Mapping[str, Any], granted: frozenset[str], today: str
    ) -> Verdict:
        """Decide about one call.

        `granted` holds the `server.tool` names that the user allowed for this session in this
        conversation; `today` is the date, YYYY-MM-DD.
        """

"""The object that `ask --json` prints: a fold of the events of one turn."""

from decimal import Decimal
from typing import Any

import msgspec
from msgspec.structs import replace

from patina.model import events
from patina.model.faults import Failure
from patina.model.items import Message
from patina.model.parts import Part, Text, Thinking, ToolCall, text_of
from patina.model.usage import Cost, Usage


class AskResult:
    """Feed it the events of a turn with `take`; `as_json` is the object so far."""

    def __init__(self, session_id: str) -> None:
        self.session_id = session_id
        self.provider = ""
        self.model = ""
        self.stop_reason: str | None = None
        self.error: Failure | None = None
        self.summary = ""  # of the older messages, where one was written
        self.retriable = ""  # the tool whose call failed of something that may pass
        self._usage = Usage()
        self._costs: list[Cost | None] = []  # of the answers, in their order
        self._message: Message | None = None
        self._first_token_ms: int | None = None
        self._calls: dict[tuple[str, str], dict[str, Any]] = {}

    def take(self, event: events.AnyEvent) -> None:
        """Take the next event of the turn."""
        if isinstance(event, events.TurnStarted):
            self.provider, self.model = event.provider, event.model
        elif isinstance(event, events.MessageAdded):
            if event.item.role == "assistant":
                self._message = event.item
                self._costs.append(event.item.cost)
                if self._first_token_ms is None:
                    self._first_token_ms = event.item.first_token_ms
        elif isinstance(event, events.NoteAdded):
            if event.item.covers is not None:
                self.summary = event.item.text
        elif isinstance(event, events.PermissionDecided):
            if not event.item.call_id:
                return  # of the whole turn
            self._call(event.item.message, event.item.call_id)["decision"] = event.item.choice
        elif isinstance(event, events.ToolStarted):
            call = self._call(event.item.message, event.item.call_id)
            call["arguments"] = _arguments(event.item.arguments)
        elif isinstance(event, events.ToolFinished):
            self._finished(event)
        elif isinstance(event, events.TurnEnded):
            self.stop_reason, self.error, self._usage = event.stop_reason, event.error, event.usage

    def fail(self, failure: Failure) -> None:
        """Say that the command failed with `failure`."""
        self.error, self.stop_reason = failure, "error"

    def interrupt(self) -> None:
        """Say that the user interrupted the command."""
        self.error, self.stop_reason = None, "cancelled"

    @property
    def text(self) -> str:
        """The words of the model's last message."""
        return text_of(self._message.parts) if self._message else ""

    @property
    def answered(self) -> bool:
        """Whether a model said anything."""
        return bool(self._costs)

    @property
    def cost(self) -> Cost | None:
        """What all answers cost together; None where that of any is not known."""
        known = [cost for cost in self._costs if cost is not None]
        if not known or len(known) < len(self._costs):
            return None
        return Cost(
            amount=sum((cost.amount for cost in known), Decimal(0)),
            source=", ".join(dict.fromkeys(cost.source for cost in known)),
            estimated=any(cost.estimated for cost in known),
        )

    def _call(self, message: str, call_id: str) -> dict[str, Any]:
        empty = {"id": call_id, "server": "", "tool": "", "arguments": {}, "status": "interrupted"}
        rest = {"decision": None, "duration_ms": 0, "result_text": ""}
        return self._calls.setdefault((message, call_id), {**empty, **rest})

    def _finished(self, event: events.ToolFinished) -> None:
        item = event.item
        call = self._call(item.message, item.call_id)
        call["server"], call["tool"], call["status"] = item.server, item.tool, item.status
        call["duration_ms"], call["result_text"] = item.duration_ms, text_of(item.parts)
        name = f"{item.server}.{item.tool}"
        if item.retriable:
            self.retriable = name
        elif self.retriable == name:  # the model has tried again itself
            self.retriable = ""
        if not call["arguments"] and self._message is not None:
            for part in self._message.parts:
                if getattr(part, "id", None) == item.call_id:
                    call["arguments"] = _arguments(getattr(part, "arguments", "{}"))

    def as_json(self, duration_ms: int) -> dict[str, Any]:
        """Return the object of the contract. `duration_ms` is that of the whole command."""
        message = self._message
        parts = message.parts if message else ()
        error = self.error
        return {
            "session_id": self.session_id,
            "message": {"role": "assistant", "text": self.text, "parts": list(map(_open, parts))},
            "provider": self.provider,
            "model": self.model,
            "stop_reason": self.stop_reason,
            "usage": msgspec.to_builtins(self._usage),
            "cost": cost_json(self.cost),
            "tool_calls": list(self._calls.values()),
            "duration_ms": duration_ms,
            "time_to_first_token_ms": self._first_token_ms,
            "error": error and {"kind": error.kind, "message": error.message, "hint": error.hint},
        }


def cost_json(cost: Cost | None) -> dict[str, Any] | None:
    """Return a cost as the contract has it; None is unknown, never zero."""
    if cost is None:
        return None
    amount = f"{cost.amount:f}"
    return {
        "amount": amount.rstrip("0").rstrip(".") if "." in amount else amount,
        "currency": cost.currency,
        "source": cost.source,
        "estimated": cost.estimated,
    }


def _open(part: Part) -> Part:
    """Return `part` without what is for its provider alone: long, and of use to nobody else."""
    if isinstance(part, Thinking):
        return replace(part, signature=None, opaque=None)
    return replace(part, opaque=None) if isinstance(part, Text | ToolCall) else part


def _arguments(text: str) -> Any:  # noqa: ANN401 - whatever JSON the model wrote
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text

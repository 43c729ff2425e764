"""The driver of Anthropic and of every endpoint that speaks its messages protocol."""

import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

from msgspec.structs import replace

from patina.model.chat import ChatRequest, ModelInfo
from patina.model.parts import Thinking
from patina.ports.provider import Driver
from patina.providers.anthropic.dialect import LEAST_BUDGET, Dialect, learn, plan, traits_of
from patina.providers.anthropic.messages import mark_of
from patina.providers.anthropic.request import encode_body
from patina.providers.anthropic.stream import MessagesReader
from patina.providers.converse import Outgoing
from patina.providers.driver import HttpDriver
from patina.providers.kinds import DriverSetup
from patina.providers.lenient import UnreadableError, count, decode_json, mapping, text

# The version of 2026-10-21 knows no temperature any more, which older models still take, and
# endpoints of others know only this one.
VERSION: Final = ("anthropic-version", "2023-06-01")
_MOST_PAGES: Final = 20
_MOST_STALE: Final = 100_000
_STALE: Final = re.compile(
    r"signature|blocks?\b.{0,60}cannot be modified|cannot (?:be|contain) .?(?:redacted_)?thinking",
    re.IGNORECASE,
)

# The prompt, the longest answer with its thinking, and the window that does not hold both.
_ROOM: Final = re.compile(r"exceed context limit: (\d{1,9}) \+ \d{1,9} > (\d{1,9})\b")
_REMEMBERED: Final = 8


def make(setup: DriverSetup) -> Driver:
    """Return the driver of an endpoint."""
    return MessagesDriver(setup)


class MessagesDriver(HttpDriver):
    """Speaks Anthropic messages. Implements `ports.provider.Driver`."""

    def __init__(self, setup: DriverSetup) -> None:
        super().__init__(setup)
        self._dialects: dict[str, Dialect] = {}
        self._stale: set[int] = set()  # thinking that is not taken back any more
        # By `id`: a request, and how many tokens its answer may have beside it.
        self._rooms: dict[int, tuple[ChatRequest, int]] = {}

    def prepare(self, request: ChatRequest) -> Outgoing:
        """Return `request` as it leaves."""
        dialect = self.dialect(request.model)
        if id(request) in self._rooms:
            room = self._rooms[id(request)][1]
            dialect = replace(dialect, max_output=min(room, dialect.max_output or room))
        body = encode_body(request, dialect, self._stale)
        return self.outgoing(f"{self.endpoint.base_url}/v1/messages", body, VERSION)

    def reader(self, request: ChatRequest) -> MessagesReader:
        """Return a reader for one answer."""
        self._rooms.pop(id(request), None)
        return MessagesReader(self.endpoint, self.shown(request.model))

    def most_output(self, request: ChatRequest) -> int:
        """Return `max_tokens` as it is sent: what is thought comes on top of an answer."""
        return plan(request, self.dialect(request.model)).max_tokens

    def dialect(self, model: str) -> Dialect:
        """Return how `model` is spoken to."""
        return self._dialects.get(model) or Dialect(traits_of(model))

    def adapt(self, request: ChatRequest, status: int, body: bytes) -> bool:
        """Learn from a refusal that names a field, a limit, or thinking that has become stale."""
        if not 400 <= status < 500 or status in {401, 403, 404}:
            return False
        from patina.providers.complaints import read_complaint

        complaint = read_complaint(body).message
        if complaint.startswith("messages") and _STALE.search(complaint):
            return self._forget_thinking(request)
        if status not in {400, 422}:
            return False
        if found := _ROOM.search(complaint):
            return self._make_room(request, int(found[2]) - int(found[1]))
        old = self.dialect(request.model)
        new = self._dialects[request.model] = learn(old, request, complaint)
        return new != old

    def _make_room(self, request: ChatRequest, tokens: int) -> bool:
        """Bound the answer to this one request, once: thinking came on top of what it may have."""
        if id(request) in self._rooms or tokens < min(LEAST_BUDGET, request.max_tokens):
            return False
        while len(self._rooms) >= _REMEMBERED:
            del self._rooms[next(iter(self._rooms))]
        self._rooms[id(request)] = (request, tokens)
        return True

    def _forget_thinking(self, request: ChatRequest) -> bool:
        """Whether there was thinking in `request` that can be left out.

        Thinking goes back only after exactly what was there when it came up. A hidden message, a
        new system prompt, other tools or another key break that, for all thinking of the history
        at once; what comes up from now on is good again.
        """
        marks = {
            mark
            for message in request.messages
            for part in message.parts
            if isinstance(part, Thinking) and (mark := mark_of(part)) is not None
        }
        if marks <= self._stale:
            return False
        if len(self._stale) > _MOST_STALE:
            self._stale.clear()
        self._stale |= marks
        return True

    async def list_models(self) -> tuple[ModelInfo, ...]:
        """Return what the endpoint offers, in its order. Raises `ProviderFault`."""
        found: dict[str, ModelInfo] = {}
        after = ""
        for _ in range(_MOST_PAGES):
            url = f"{self.endpoint.base_url}/v1/models?limit=1000"
            body = await self.fetch(
                f"{url}&after_id={quote(after, safe='')}" if after else url, VERSION
            )
            try:
                page = mapping(decode_json(body))
            except UnreadableError:
                raise self.no_list() from None
            listed = page.get("data")
            if not isinstance(listed, list):
                raise self.no_list()
            for plain in map(mapping, listed):
                if name := text(plain.get("id")):
                    found[name] = self._info(name, plain)
            last = text(page.get("last_id"))
            if page.get("has_more") is not True or not last or last == after:
                break
            after = last
        known = (name for name in self.setup.settings.models if name not in found)
        return (*(ModelInfo(self.endpoint.provider, name) for name in known), *found.values())

    def _info(self, name: str, plain: Mapping[str, Any]) -> ModelInfo:
        """Field names: Anthropic API reference, "List Models"."""
        can = mapping(plain.get("capabilities"))
        return ModelInfo(
            self.endpoint.provider,
            name,
            context_window=count(plain.get("max_input_tokens")) or None,
            max_output=count(plain.get("max_tokens")) or None,
            title=text(plain.get("display_name")),
            images=_supported(can, "image_input"),
            files=_supported(can, "pdf_input"),
            thinking=_supported(can, "thinking"),
            source="endpoint",
        )


def _supported(capabilities: Mapping[str, Any], name: str) -> bool | None:
    value = mapping(capabilities.get(name)).get("supported")
    return value if isinstance(value, bool) else None

"""The requests of a turn: what they hold, and whether they fit, before any of them is sent."""

from collections.abc import Collection
from typing import Final

from msgspec.structs import replace

from patina.engine.bounds import Counted
from patina.engine.context import (
    History,
    Telling,
    history_of,
    load_blobs,
    system_prompt,
    tool_specs,
)
from patina.engine.estimate import Size, calibration, fixed_size, size_of
from patina.engine.excerpts import Excerpts, Seen, has_media
from patina.engine.interruption import Interruption
from patina.engine.notes import write_note
from patina.engine.own_tools import OwnTools, Told
from patina.engine.paying import Cause, wanted_of
from patina.engine.recorder import Recorder
from patina.engine.services import Services
from patina.engine.summary import can_summarise
from patina.model.chat import ChatRequest, Failed, ModelInfo, ModelRef, ToolInfo
from patina.model.faults import TOOLS_REFUSED, Failure, ProviderFault
from patina.model.items import Note
from patina.model.masking import masked_json
from patina.model.money import Wanted
from patina.model.options import TurnOptions
from patina.ports.provider import Driver

INFO_SECONDS: Final = 2.0
# Seconds that a request waits for what is known of its model where only its tools depend on it.
QUICK_SECONDS: Final = 0.1
SMALL: Final = 3_000  # tokens; any model takes that
LEARNT: Final = 200  # tokens, of which a provider's count teaches how it counts
LEAST_ANSWER: Final = 1_024  # tokens that are kept for the answer
# By what share an estimate may be wrong: at first, and once the provider has counted.
MARGIN: Final = 0.1
COUNTED_MARGIN: Final = 0.03


class Requests:
    """Makes the requests of one turn, which all go to `model`."""

    def __init__(
        self,
        services: Services,
        recorder: Recorder,
        interruption: Interruption,
        model: ModelRef,
        options: TurnOptions,
        own: OwnTools,
        excerpts: Excerpts,
    ) -> None:
        self._services = services
        self._recorder = recorder
        self._interruption = interruption
        self._model = model
        self._options = options
        self._own = own
        self._excerpts = excerpts
        self._info: ModelInfo | None = None
        self._waited = 0.0  # for it, in seconds
        self._told_bound = False
        self._tokens = 0.0  # of the newest request, about
        self._reported: tuple[int, int] | None = None  # as in `History`, of the newest request
        # By what our estimates of words are to be multiplied for this model.
        self.factor = 1.0

    @property
    def are_toolless(self) -> bool:
        """Whether the model has refused tools, or is known to, since it was chosen."""
        return self._recorder.tree.toolless == str(self._model)

    async def tools_of(self, listed: Collection[ToolInfo]) -> tuple[ToolInfo, ...]:
        """Return those of the tools that are offered: none where the model takes none."""
        if not listed or self.are_toolless:
            return ()
        info = await self._known(QUICK_SECONDS)
        if info is not None and info.tools is False:
            await self.leave_out_tools()
            return ()
        return tuple(listed)

    async def leave_out_tools(self) -> None:
        """Offer this model no tools from now on, and say so. Raises `StoreFault`."""
        model, provider = self._model.model, self._model.provider
        text = f"{model} ({provider}) takes no tools: they are off until the model changes."
        note = Note(
            **self._recorder.keys(),
            level="warning",
            text=text,
            kind=TOOLS_REFUSED,
            provider=provider,
            model=model,
        )
        await self._recorder.write(note)

    async def next(self, *, offering: bool) -> ChatRequest:
        """Return the request that the active branch asks for; with the tools, where `offering`.

        Raises `ProviderFault` (context_too_long) for one that is too long for its model.
        """
        tree, chat = self._recorder.tree, self._services.chat
        seen = await self._seen(offering=offering)
        told = self._own.told(readable=seen.readable) if offering else Told()
        history = self._history(seen, plain=self.are_toolless)
        if any(message.answers for message in history.messages):
            info = await self._known(QUICK_SECONDS)
            if info is not None and info.tools is False:
                history = self._history(seen, plain=True)
        messages, blobs, missing = await load_blobs(history.messages, self._services.journal)
        missing += len(seen.lost)
        if missing:
            words = f"{missing} stored files of this conversation cannot be read and were left out."
            await write_note(self._recorder, "warning", Failure("store", words))
        mask = self._services.mask
        request = ChatRequest(
            model=self._model.model,
            messages=messages,
            system=mask(system_prompt(tree.fact("system") or chat.system, told)),
            tools=masked_json(tool_specs(told.tools), mask),
            temperature=self._options.temperature,
            max_tokens=self._options.max_tokens or chat.max_tokens,
            effort=self._options.effort or self._model.effort,
            schema=self._options.schema,
            blobs=blobs,
            timeout=self._options.timeout or chat.timeout,
        )
        return await self._fitting(request, history)

    def wanted(
        self, request: ChatRequest, cause: Cause, counted: Counted | None, driver: Driver
    ) -> Wanted:
        """Return what is to be paid for `request`, the newest of `next`."""
        return wanted_of(
            request,
            self._model,
            cause,
            driver,
            tokens=self._tokens,
            counted=counted,
            reported=self._reported,
        )

    def explained(self, failure: Failure) -> Failure:
        """Return a provider's failure with a hint that is true of this conversation."""
        if failure.kind != "context_too_long":
            return failure
        return replace(failure, hint=self._hint())

    async def _seen(self, *, offering: bool) -> Seen:
        """Return how the results of the branch are sent: what is too large is left out."""
        tree = self._recorder.tree
        info = await self._known(INFO_SECONDS) if has_media(tree) else self._info
        window = info.context_window if info is not None else None
        return await self._excerpts.seen(tree, offering=offering, window=window)

    def _history(self, seen: Seen, *, plain: bool) -> History:
        telling = Telling(seen, None if plain else self._own.on_wire)
        return history_of(self._recorder.tree, self._model, telling)

    async def _known(self, seconds: float) -> ModelInfo | None:
        """Return what is known of the model, where that is found in time."""
        if self._info is None and seconds > self._waited:
            self._waited = seconds
            with self._interruption.scope(), self._services.clock.timeout(seconds):
                self._info = await self._services.providers.info(self._model)
        return self._info

    async def _fitting(self, request: ChatRequest, history: History) -> ChatRequest:
        """Return `request` with what is known of the model, and an answer that it has room for.

        Nothing is asked about the model where nothing hangs on it: a short question leaves at once.
        """
        before, reported = history.reported or (0, 0)
        fixed = fixed_size(request.system, request.tools)
        counted = fixed + size_of(request.messages[:before], request.blobs)
        whole = counted + size_of(request.messages[before:], request.blobs)
        if not whole.images and not whole.files and whole.tokens(None) < SMALL:
            info = self._info
        else:
            info = await self._known(INFO_SECONDS)
        factor = _factor(reported, counted, info)
        tokens = whole.tokens(info) * factor
        # Of pictures and of short words nothing is learnt about other words.
        learnt = not counted.images and not counted.files and counted.words >= LEARNT
        self.factor = factor if learnt else 1.0
        self._tokens, self._reported = tokens, history.reported
        if info is None:
            return request
        margin = COUNTED_MARGIN if reported else MARGIN
        bound = self._bound(request.max_tokens, tokens, margin, info)
        if self._options.max_tokens and bound < request.max_tokens and not self._told_bound:
            self._told_bound = True
            words = f"The answer can have {bound:,} tokens at most, not {request.max_tokens:,}: "
            words += (
                f"{self._model} writes no more."
                if bound == info.max_output
                else f"the conversation has ~{tokens:,.0f} of the {info.context_window:,} that "
                f"{self._model} takes."
            )
            await write_note(self._recorder, "warning", Failure("context_too_long", words))
        return replace(request, info=info, max_tokens=bound)

    def _bound(self, asked: int, tokens: float, margin: float, info: ModelInfo) -> int:
        """Return the most tokens of the answer. Raises `ProviderFault` where none is left."""
        asked = min(asked, info.max_output or asked)
        window = info.context_window
        if not window:
            return asked
        least = max(min(LEAST_ANSWER, asked, window // 4), 1)
        if tokens * (1 - margin) + least > window:
            raise ProviderFault(
                f"The conversation is too long for {self._model}: it has ~{tokens:,.0f} tokens, "
                f"and with an answer the model takes ~{window:,}.",
                hint=self._hint(),
                kind="context_too_long",
            )
        return max(least, min(asked, int(window - tokens * (1 + margin))))

    def _hint(self) -> str:
        conversation = self._recorder.conversation
        if not can_summarise(self._recorder.tree):
            return (
                "Nothing older is left to summarise: attach less, offer fewer tools (--mcp), or "
                "choose a model that takes more."
            )
        return (
            f"Summarise the older messages: patina sessions summarise {conversation}, then ask "
            f'again: patina ask -s {conversation} "…" (in a chat: /summarise, then /retry). '
            "Or choose a model that takes more."
        )


def _factor(reported: int, counted: Size, info: ModelInfo | None) -> float:
    return calibration(reported, counted.tokens(info)) if reported else 1.0


def takes_no_tools(request: ChatRequest, end: object) -> bool:
    """Whether `end` says that the model takes no tools, and `request` told it of some."""
    told = bool(request.tools) or any(message.answers for message in request.messages)
    return told and isinstance(end, Failed) and end.failure.code == TOOLS_REFUSED

"""Sampling: a server has a model of the user's answer a prompt, if the user lets it.

The person sees the prompt and may change it; nothing of the conversation goes with it. Money
passes the same gate as for every other request, and every limit of the server's settings holds
whether a person is asked or not.
"""

import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import anyio
from msgspec.structs import replace

from patina.engine.context import load_blobs
from patina.engine.paying import Cause, Payment, cause_of, paid, wanted_of
from patina.engine.recorder import Recorder
from patina.engine.sampling_model import preferred_model
from patina.engine.sampling_prompt import Changes, Tools, messages_of, sampled, tools_of
from patina.engine.services import Services
from patina.engine.stream import reply_of
from patina.model.chat import ChatRequest, Failed, Finished, ModelInfo, ModelRef
from patina.model.faults import LimitFault, PermissionFault, ProviderFault, StoreFault
from patina.model.items import Note
from patina.model.masking import masked
from patina.model.parts import Part, Spoken, ToolCall, text_of, well_formed
from patina.model.questions import Answered, Asked, Sampled, Sampling
from patina.model.settings import ServerSettings

INFO_SECONDS: Final = 2.0
MODELS_SECONDS: Final = 4.0
SAID: Final = 300  # characters of an answer that its note has
REFUSED: Final = "-1"  # the code by which a server is told that a person said no (MCP 2025-11-25)

_log = logging.getLogger(__name__)


class Sampler:
    """Answers the prompts of one call: its settings' bound on their number counts here.

    Without a `recorder` there is no conversation: nothing is noted, and the money gate is given ""
    as one. `model` is what answers where the server has no wish that can be met; None means the
    conversation's, else the default.
    """

    def __init__(
        self, services: Services, recorder: Recorder | None = None, model: ModelRef | None = None
    ) -> None:
        self._services = services
        self._recorder = recorder
        self._model = model
        self._asked = 0
        # Our answers that wait for results, by provider and the id of their first call.
        self._ours: dict[str, dict[str, Spoken]] = {}

    async def sample(
        self, server: str, prompt: Sampling, ask: Callable[[Asked], Awaitable[Answered]]
    ) -> Sampled:
        """Return what a model answers to `prompt`. `ask` puts it to a person and is not called
        where the server's settings say "allow".

        What the person says goes to the server as it is: there is no second question about the
        answer. Raises `PermissionFault` where the answer is no, `LimitFault` where a limit forbids
        it, `ProviderFault` where the model fails, `McpFault` for a prompt that is none, and
        `UsageFault` for changes that cannot be made or a model that is not there. Cancelling ends
        the request; it is booked and noted then too, so wait for it before the call is closed.
        """
        settings = self._services.servers().get(server, ServerSettings())
        name = settings.display_name or server
        self._check_allowed(server, name, settings)
        prompt = masked(prompt, self._services.mask)
        tools = tools_of(prompt)
        messages_of(prompt, tools, {}, "")  # nobody is to be asked about what cannot be sent
        own = self._own_model()
        most = max(settings.sampling_tokens, 1)
        bounded = replace(prompt, max_tokens=max(min(prompt.max_tokens, most), 1))
        shown = settings.sampling == "ask"
        models: Sequence[ModelInfo] = ()
        if prompt.hints:
            with self._services.clock.timeout(MODELS_SECONDS):
                models = await self._services.models()
        chosen = preferred_model(bounded, models, own, shown=shown)
        proposed = replace(bounded, model=str(chosen))
        if shown:
            asked = Asked(
                kind="sampling", text=f"{name} wants a model to answer.", sampling=proposed
            )
            answered = await ask(asked)
            if answered.action != "accept":
                raise _refused(name, answered)
            proposed = Changes.of(answered.content).apply(proposed)
            proposed = replace(proposed, max_tokens=min(proposed.max_tokens, most))
            if proposed.model != str(chosen):
                chosen = self._services.providers.resolve(proposed.model)
        return await self._answer(server, name, proposed, tools, chosen)

    def _check_allowed(self, server: str, name: str, settings: ServerSettings) -> None:
        """Count the prompt. Raises `PermissionFault` or `LimitFault`."""
        if settings.sampling == "deny":
            raise PermissionFault(
                f"{name} may not ask a model.",
                hint=f"To be asked: patina config set mcp_servers.{server}.sampling ask",
                code=REFUSED,
            )
        self._asked += 1
        most = settings.sampling_requests
        if self._asked > most:
            raise LimitFault(
                f"{name} asked a model {most} times in one call, which is all it may.",
                hint="For more: patina config set "
                f"mcp_servers.{server}.sampling_requests {most * 2 or 1}",
            )

    def _own_model(self) -> ModelRef:
        if self._model is not None:
            return self._model
        return self._services.providers.resolve(
            self._recorder.tree.fact("model") if self._recorder else ""
        )

    async def _answer(
        self, server: str, name: str, prompt: Sampling, tools: Tools, model: ModelRef
    ) -> Sampled:
        """Send the prompt and return the answer. Whatever comes of it is booked and noted."""
        driver = self._services.providers.driver(model.provider)
        request = await self._request(name, prompt, tools, model)
        wanted = wanted_of(request, model, self._cause(server), driver)
        unpriced = self._recorder is not None and str(model) in self._recorder.tree.unpriced
        parts: tuple[Part, ...] = ()
        end: Finished | Failed | None = None
        payment: Payment | None = None
        # The answer is read to its end even where a stop sequence came: one that is cut off has no
        # usage, and a server could hide from a limit what it costs.
        try:
            async with paid(self._services, wanted, unpriced=unpriced) as payment:
                parts, end = await reply_of(
                    payment.stream(driver, request), lambda alias: tools.names.get(alias, alias)
                )
        finally:
            if payment is not None:
                with anyio.CancelScope(shield=True):
                    await self._note(payment, name, model, parts, end)
        if isinstance(end, Failed):
            raise ProviderFault.of(end.failure)
        answer, whole = sampled(prompt, parts, end, model.model)
        self._remember(answer, whole, model.provider)
        return answer

    async def _request(
        self, name: str, prompt: Sampling, tools: Tools, model: ModelRef
    ) -> ChatRequest:
        info = ModelInfo(model.provider, model.model)
        with self._services.clock.timeout(INFO_SECONDS):
            info = await self._services.providers.info(model)
        if tools.specs and info.tools is False:
            raise ProviderFault(
                f"{model} takes no tools, and {name} has some for it.",
                hint="Choose another model.",
                kind="bad_request",
            )
        ours = self._ours.get(model.provider, {})
        messages, blobs, _ = await load_blobs(
            messages_of(prompt, tools, ours, model.provider), self._services.journal
        )
        return ChatRequest(
            model=model.model,
            messages=messages,
            system=prompt.system,
            tools=tools.specs,
            temperature=prompt.temperature,
            max_tokens=min(prompt.max_tokens, info.max_output or prompt.max_tokens),
            effort=model.effort,
            info=info,
            blobs=blobs,
            timeout=self._services.chat.timeout,
        )

    def _remember(self, answer: Sampled, whole: Spoken, provider: str) -> None:
        if answer.stop_reason == "toolUse":
            first = next(call.id for call in whole.parts if isinstance(call, ToolCall))
            self._ours.setdefault(provider, {})[first] = whole

    def _cause(self, server: str) -> Cause:
        if self._recorder is None:
            return Cause(purpose="sampling", server=server)
        return cause_of(self._recorder.tree, self._recorder.conversation, "sampling", server)

    async def _note(
        self,
        payment: Payment,
        name: str,
        model: ModelRef,
        parts: tuple[Part, ...],
        end: Finished | Failed | None,
    ) -> None:
        """Note what was asked, and what it cost."""
        if self._recorder is None:
            return
        note = Note(
            **self._recorder.keys(),
            level="warning" if isinstance(end, Failed) else "info",
            text=_told(name, model, parts, end),
            provider=model.provider,
            model=model.model,
            usage=payment.usage,
            cost=payment.cost,
        )
        try:
            await self._recorder.write(note)
        except StoreFault:
            # The call's result meets the same disk, and its fault is told.
            _log.warning("a sampling could not be noted", exc_info=True)


def _refused(name: str, answered: Answered) -> PermissionFault:
    said = f"The user did not let {name} ask a model."
    if answered.action == "cancel":
        said = f"Nobody said whether {name} may ask a model, so it may not."
    return PermissionFault(said, code=REFUSED)


def _told(name: str, model: ModelRef, parts: tuple[Part, ...], end: object) -> str:
    if isinstance(end, Failed):
        return f"{name} asked {model}, which failed: {end.failure.message}"
    if not isinstance(end, Finished):
        return f"{name} asked {model}, and the call ended before the answer."
    tokens = ""
    if end.usage is not None:
        tokens = f" ({end.usage.input_tokens + end.usage.output_tokens:,} tokens)"
    words = " ".join(well_formed(text_of(parts)).split())
    said = f" It said: {words[:SAID]}{'…' if len(words) > SAID else ''}" if words else ""
    return f"{name} had {model} answer a prompt{tokens}.{said}"

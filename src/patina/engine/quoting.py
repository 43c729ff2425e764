"""What the next message would ask of a model, and cost. Nobody is asked anything for that."""

from contextlib import suppress

from msgspec import Struct
from msgspec.structs import replace

from patina.engine.context import Telling, history_of, load_blobs, system_prompt, tool_specs
from patina.engine.estimate import fixed_size, size_of
from patina.engine.excerpts import Excerpts, Seen
from patina.engine.own_tools import OwnTools, Told
from patina.engine.paying import Cause, wanted_of
from patina.engine.services import Services
from patina.model.chat import ChatMessage, ChatRequest, ModelRef
from patina.model.faults import Fault
from patina.model.masking import masked_json
from patina.model.money import Wanted
from patina.model.options import TurnOptions
from patina.model.parts import Part, Spoken
from patina.model.tree import Tree
from patina.ports.provider import Driver


class Next(Struct, frozen=True, kw_only=True):
    """The next message of a conversation ("": of a new one); fields as in `message.send`.

    Without `parts` nothing is known of it yet.
    """

    conversation: str = ""
    parts: tuple[Part, ...] = ()
    before: tuple[Spoken, ...] = ()
    model: str | None = None
    system: str | None = None
    tools: tuple[str, ...] | None = None
    options: TurnOptions = TurnOptions()


class Draft(Struct, frozen=True, kw_only=True):
    """A message that is not sent, and the request that it would make.

    `tree` is the conversation without it, `told` what its model is told of tools, `seen` how it is
    sent their results.
    """

    model: ModelRef
    wanted: Wanted
    request: ChatRequest
    tree: Tree
    told: Told
    seen: Seen

    def with_model(self, model: ModelRef) -> Wanted:
        """Return what the same request to another model would be."""
        return replace(self.wanted, provider=model.provider, model=model.model)


async def draft_of(services: Services, asked: Next) -> Draft:
    """Return the request that the next message would make now.

    Tools count as far as they are listed by now. Raises `UsageFault` for a model or a conversation
    that is not there, and `StoreFault`.
    """
    options, conversation, journal = asked.options, asked.conversation, services.journal
    known = conversation and await journal.mark(conversation)
    tree = Tree((await journal.read(conversation)).items if known else ())
    if asked.tools is not None:
        tree.facts["tools"] = asked.tools
    model = services.providers.resolve(asked.model or tree.fact("model") or "")
    own = OwnTools(services, lambda: tree)
    toolless = tree.toolless == str(model)
    listed = () if options.servers == () or toolless else await own.list(options.servers)
    seen = await Excerpts(journal).seen(tree, offering=bool(listed))
    told = own.told(readable=seen.readable) if listed else Told()
    history = history_of(tree, model, Telling(seen, None if toolless else own.on_wire))
    messages, blobs, _ = await load_blobs((*history.messages, *_messages(asked)), journal)
    system = asked.system if asked.system is not None else tree.fact("system")
    request = ChatRequest(
        model=model.model,
        messages=messages,
        system=services.mask(system_prompt(system or services.chat.system, told)),
        tools=masked_json(tool_specs(told.tools), services.mask),
        max_tokens=options.max_tokens or services.chat.max_tokens,
        effort=options.effort or model.effort,
        schema=options.schema,
        blobs=blobs,
        timeout=options.timeout or services.chat.timeout,
    )
    wanted = wanted_of(
        request,
        model,
        Cause(purpose="chat", conversation=conversation, options=options),
        _driver(services, model),
        tokens=_tokens(request, history.reported),
        reported=history.reported,
    )
    return Draft(model=model, wanted=wanted, request=request, tree=tree, told=told, seen=seen)


def _driver(services: Services, model: ModelRef) -> Driver | None:
    """Return who would send it; None where a key is missing, which is no matter yet."""
    with suppress(Fault):
        return services.providers.driver(model.provider)
    return None


def _tokens(request: ChatRequest, reported: tuple[int, int] | None) -> float:
    """Return about how many tokens the input has: as its provider counted, and what came since."""
    before, counted = reported or (0, 0)
    rest = size_of(request.messages[before:], request.blobs).tokens(None)
    if counted:
        return counted + rest
    return fixed_size(request.system, request.tools).tokens(None) + rest


def _messages(asked: Next) -> list[ChatMessage]:
    before = [ChatMessage(spoken.role, spoken.parts) for spoken in asked.before]
    return [*before, ChatMessage("user", asked.parts)] if asked.parts else before

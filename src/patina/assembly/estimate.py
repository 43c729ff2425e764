"""What the next message of a conversation would cost, for every front end."""

from decimal import Decimal

from msgspec import Struct
from msgspec.structs import replace

from patina.assembly.app import App
from patina.billing.pricing import cost_of
from patina.engine.context import (
    Telling,
    history_of,
    load_blobs,
    system_prompt,
    tool_specs,
)
from patina.engine.estimate import fixed_size, server_costs, size_of, text_tokens
from patina.engine.excerpts import Excerpts
from patina.engine.own_tools import OwnTools, Told
from patina.engine.paying import Cause, wanted_of
from patina.model.chat import ChatMessage, ChatRequest, ModelRef
from patina.model.items import Result
from patina.model.money import Tariff, Wanted
from patina.model.options import TurnOptions
from patina.model.parts import Part, Spoken, text_of
from patina.model.tree import Tree
from patina.model.usage import Usage
from patina.views.money import ServerCost


class Draft(Struct, frozen=True, kw_only=True):
    """A message that is not sent, and the request that it would make.

    `tree` is the conversation without it, `told` what its model is told of tools.
    """

    model: ModelRef
    wanted: Wanted
    request: ChatRequest
    tree: Tree
    told: Told

    def with_model(self, model: ModelRef) -> Wanted:
        """Return what the same request to another model would be."""
        return replace(self.wanted, provider=model.provider, model=model.model)


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


async def draft_of(app: App, asked: Next) -> Draft:
    """Return the request that the next message would make now. No provider is asked anything.

    Raises `Fault`s.
    """
    services, options, conversation = app.services, asked.options, asked.conversation
    items = (await app.journal.read(conversation)).items if conversation else ()
    tree = Tree(items)
    if asked.tools is not None:
        tree.facts["tools"] = asked.tools
    model = app.providers.resolve(asked.model or tree.fact("model") or "")
    own = OwnTools(services, lambda: tree)
    toolless = tree.toolless == str(model)
    listed = () if options.servers == () or toolless else await own.list(options.servers)
    seen = await Excerpts(services.journal).seen(tree, offering=bool(listed))
    told = own.told(readable=seen.readable) if listed else Told()
    history = history_of(tree, model, Telling(seen, None if toolless else own.on_wire))
    messages = (*history.messages, *_messages(asked))
    messages, blobs, _ = await load_blobs(messages, services.journal)
    system = asked.system if asked.system is not None else tree.fact("system")
    request = ChatRequest(
        model=model.model,
        messages=messages,
        system=services.mask(system_prompt(system or services.chat.system, told)),
        tools=tool_specs(told.tools),
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
        tokens=_tokens(request, history.reported),
        reported=history.reported,
    )
    return Draft(model=model, wanted=wanted, request=request, tree=tree, told=told)


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


def server_shares(draft: Draft, whole: int, tariff: Tariff) -> list[ServerCost]:
    """Return what each server's tools and results add to a request of `whole` tokens."""
    schemas = server_costs(draft.told.tools)
    results: dict[str, float] = {}
    for item in draft.tree.unsummarised()[1]:
        if isinstance(item, Result) and item.server:
            tokens = text_tokens(text_of(item.parts))
            results[item.server] = results.get(item.server, 0.0) + tokens
    return [
        ServerCost(
            server=server,
            schemas=schemas.get(server, 0),
            results=round(results.get(server, 0)),
            schemas_cost=_share(schemas.get(server, 0), whole, tariff),
            results_cost=_share(round(results.get(server, 0)), whole, tariff),
            local=tariff.local,
        )
        for server in dict.fromkeys((*schemas, *results))
    ]


def _share(tokens: int, whole: int, tariff: Tariff) -> Decimal | None:
    """Return what a request of `whole` tokens would cost less without some of them."""
    full, rest = cost_of(Usage(whole), tariff), cost_of(Usage(max(whole - tokens, 0)), tariff)
    return None if full is None or rest is None else full - rest

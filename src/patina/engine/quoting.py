"""What a message would cost before it is sent. No model and no server is asked anything."""

from collections.abc import Sequence

from patina.engine.context import Telling, history_of, load_blobs, system_prompt, tool_specs
from patina.engine.estimate import fixed_size, size_of
from patina.engine.excerpts import Excerpts
from patina.engine.own_tools import OwnTools, Told
from patina.engine.paying import Cause, wanted_of
from patina.engine.services import Services
from patina.model.chat import ChatMessage, ChatRequest
from patina.model.money import Quote
from patina.model.options import TurnOptions
from patina.model.parts import Part
from patina.model.tree import Tree


async def quote(
    services: Services,
    tree: Tree,
    conversation: str,
    parts: Sequence[Part],
    model: str | None,
    options: TurnOptions,
) -> Quote:
    """Return what a message with `parts` would cost as the next one of `tree`.

    Tools count as far as they are listed by now. Raises `UsageFault` for a model that is not there.
    """
    ref = services.providers.resolve(model or tree.fact("model"))
    own = OwnTools(services, lambda: tree)
    toolless = tree.toolless == str(ref)
    listed = () if options.servers == () or toolless else await own.list(options.servers)
    seen = await Excerpts(services.journal).seen(tree, offering=bool(listed))
    told = own.told(readable=seen.readable) if listed else Told()
    history = history_of(tree, ref, Telling(seen, None if toolless else own.on_wire))
    whole = (*history.messages, ChatMessage("user", tuple(parts)))
    messages, blobs, _ = await load_blobs(whole, services.journal)
    chat = services.chat
    request = ChatRequest(
        model=ref.model,
        messages=messages,
        system=system_prompt(tree.fact("system") or chat.system, told),
        tools=tool_specs(told.tools),
        max_tokens=options.max_tokens or chat.max_tokens,
        schema=options.schema,
        blobs=blobs,
        timeout=options.timeout or chat.timeout,
    )
    before, counted = history.reported or (0, 0)
    tokens = size_of(request.messages[before:], blobs).tokens(None)
    tokens += counted or fixed_size(request.system, request.tools).tokens(None)
    wanted = wanted_of(
        request,
        ref,
        Cause(purpose="chat", conversation=conversation, options=options),
        tokens=tokens,
        reported=history.reported,
    )
    return await services.meter.quote(wanted)

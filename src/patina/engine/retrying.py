"""One call of a message is run again, as a branch of its own."""

from collections.abc import Callable
from typing import Any

from msgspec.structs import replace

from patina.model.faults import UsageFault
from patina.model.items import Message, Result
from patina.model.tree import Tree, tool_calls


def retried(
    tree: Tree, result_id: str, keys: Callable[[str | None], dict[str, Any]]
) -> tuple[Message | Result, ...]:
    """Return the message of a result anew, beside itself, with the results of its other calls.

    Its call is open then. `keys` returns the keys of a new item after another one. Nothing of the
    copies is counted a second time. Raises `UsageFault` where trying again is of no use.
    """
    failed = tree.node(result_id)
    message = tree.node(failed.message) if isinstance(failed, Result) else None
    if not isinstance(failed, Result) or not isinstance(message, Message):
        raise UsageFault("There is no such result in this conversation.")
    if not failed.retriable:
        raise UsageFault(
            "This call did not fail of something that may pass.",
            hint="Send a message, or have the answer made anew.",
        )
    own = keys(message.parent)
    copy = replace(message, **own, usage=None, cost=None, duration_ms=None, first_token_ms=None)
    items: list[Message | Result] = [copy]
    for call in tool_calls(message):
        result = tree.results.get((message.id, call.id))
        if call.id != failed.call_id and result is not None:
            items.append(replace(result, **keys(items[-1].id), message=copy.id))
    return tuple(items)

"""Calls that repeat themselves: a model that asks the same for the third time is going in circles.

Only steps that are alike as a whole count. A test that is run again after a change of a file has
the same arguments each time, and often the same result, and is none of these.
"""

from typing import Final

import msgspec

from patina.model.items import Call, Message
from patina.model.parts import ResultPart, ToolCall
from patina.model.tree import Tree, tool_calls

ENOUGH: Final = 2  # steps with the same calls and results, after which those are not run again
_Key = tuple[str, str]
_Step = dict[_Key, tuple[ResultPart, ...]]


def repeated(tree: Tree, message: Message) -> frozenset[str]:
    """Return the ids of those calls of `message` that were made in each of the two steps before,
    with the same results, and nothing else beside them.

    A step of which a part failed of something that may pass counts for nothing.
    """
    steps: list[_Step] = []
    ran: set[_Key] = set()
    for item in reversed(tree.path(message.parent) if message.parent else ()):
        if isinstance(item, Call):
            ran.add((item.message, item.call_id))
        elif isinstance(item, Message):
            if item.role == "user" or len(steps) == ENOUGH:
                break
            step = _step(tree, item, ran)
            if step is None:
                return frozenset()
            if step:  # else none of its calls was run
                steps.append(step)
    if len(steps) < ENOUGH or any(step != steps[0] for step in steps):
        return frozenset()
    return frozenset(call.id for call in tool_calls(message) if _key(call) in steps[0])


def refusal(name: str) -> str:
    """Return what a model is told in place of a result."""
    return (
        f"{name} was not run: it is the third time in a row with the same arguments, and the "
        "result was the same both times. Use that result, change the arguments, or go on without."
    )


def _step(tree: Tree, message: Message, ran: set[_Key]) -> _Step | None:
    """Return what was run of a message and what came of it, None where that may pass."""
    found: _Step = {}
    for call in tool_calls(message):
        if (message.id, call.id) not in ran:
            continue
        result = tree.results.get((message.id, call.id))
        if result is None or result.retriable or result.status == "interrupted":
            return None
        found[_key(call)] = result.parts
    return found


def _key(call: ToolCall) -> _Key:
    try:
        value = msgspec.json.decode(call.arguments)
        return call.name, msgspec.json.encode(value, order="deterministic").decode()
    except (msgspec.MsgspecError, RecursionError, UnicodeError):
        return call.name, call.arguments

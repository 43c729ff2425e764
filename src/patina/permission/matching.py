"""Whether a rule is about a call."""

import fnmatch
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from patina.model.chat import ToolInfo
from patina.model.settings import Effect, PermissionRule
from patina.ports.permission import Case


def matches(rule: PermissionRule, case: Case) -> bool:
    """Whether `rule` holds today and is about the call.

    What is not known counts against the call. A deny or ask rule also catches a tool that says
    nothing of the effect, and a text that stands inside of an argument's value; an allow rule
    needs the claim, and the value as a whole.
    """
    tool, strict = case.tool, rule.action == "allow"
    return (
        not (rule.expires and rule.expires < case.today)
        and rule.pin in ("", tool.hash)
        and fnmatch.fnmatchcase(tool.server, rule.server)
        and fnmatch.fnmatchcase(tool.tool, rule.tool)
        and (rule.effect is None or _has(tool, rule.effect, strict=strict))
        and all(
            _argument(case.arguments, name, glob, strict=strict) for name, glob in rule.args.items()
        )
    )


def value_text(value: object) -> str:
    """Return what the glob of an argument is compared with: text as it is, all else as JSON.

    A whole number is one however it was written: 22.0 is 22, for schemas too.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    try:
        return msgspec.json.encode(value).decode()
    except RecursionError:  # what stands within it is looked at one by one
        return ""


def is_destructive(tool: ToolInfo) -> bool:
    """Whether its server says that `tool` may destroy something."""
    return tool.destructive is True and tool.read_only is not True


def may_send_out(tool: ToolInfo) -> bool:
    """Whether `tool` can bring data out, for all that is known: nobody says that it cannot."""
    return tool.open_world is not False and not tool.built_in


def _has(tool: ToolInfo, effect: Effect, *, strict: bool) -> bool:
    """Whether `tool` has `effect`; where it says nothing, `strict` means no."""
    silent = not strict
    if effect == "read":
        return tool.read_only is True
    if effect == "write":
        return tool.read_only is False or (silent and tool.read_only is None)
    if tool.read_only is True and effect == "destructive":
        return False
    claim = tool.destructive if effect == "destructive" else tool.open_world
    return claim is True or (silent and claim is None)


def _argument(arguments: Mapping[str, Any], name: str, glob: str, *, strict: bool) -> bool:
    """Whether an argument matches. The empty glob is about one that is empty or not given."""
    if name not in arguments:
        return glob == ""
    value = arguments[name]
    if fnmatch.fnmatchcase(value_text(value), glob):
        return True
    return not strict and any(fnmatch.fnmatchcase(text, glob) for text in _inner_texts(value))


def _inner_texts(value: object) -> Iterator[str]:
    """Yield every value within lists and tables, as text."""
    pending = [value]
    while pending:
        one = pending.pop()
        if isinstance(one, dict):
            pending.extend(one.values())
        elif isinstance(one, list):
            pending.extend(one)
        else:
            yield value_text(one)

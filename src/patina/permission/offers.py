"""The rules that a person may write with "always", the narrowest first."""

from typing import Final

from patina.model.rules import exact_glob
from patina.model.settings import PermissionRule
from patina.permission.matching import value_text
from patina.ports.permission import Case

MOST_ARGUMENTS: Final = 4
MOST_ABSENT: Final = 6
LONGEST_VALUE: Final = 80  # characters


def offers(case: Case) -> tuple[PermissionRule, ...]:
    """Return rules of which each allows the call of `case` wherever nothing denies or asks.

    This tool with just these values, where they are few and short; this tool; all tools of the
    server that claim to only read, if this one does; all tools of the server. A rule about one
    tool is about its definition as it is now.
    """
    tool = case.tool
    one = PermissionRule(
        action="allow", server=exact_glob(tool.server), tool=exact_glob(tool.tool), pin=tool.hash
    )
    found = [one]
    args = _same_values(case)
    if args:
        found.insert(
            0,
            PermissionRule(
                action="allow", server=one.server, tool=one.tool, args=args, pin=one.pin
            ),
        )
    if tool.read_only is True:
        found.append(PermissionRule(action="allow", server=one.server, effect="read"))
    found.append(PermissionRule(action="allow", server=one.server))
    return tuple(found)


def _same_values(case: Case) -> dict[str, str]:
    """Return globs for the arguments as they are; those that the tool could take beside them
    must be absent. Nothing where that is no rule that a person would read.
    """
    texts = {name: value_text(value) for name, value in case.arguments.items()}
    properties = case.tool.schema.get("properties")
    known = properties if isinstance(properties, dict) else {}
    absent = [name for name in known if name not in texts]
    if not texts or len(texts) > MOST_ARGUMENTS or len(absent) > MOST_ABSENT:
        return {}
    words = [*texts, *texts.values(), *absent]
    if any(len(word) > LONGEST_VALUE or not word.isprintable() for word in words):
        return {}
    return {name: exact_glob(text) for name, text in texts.items()} | dict.fromkeys(absent, "")

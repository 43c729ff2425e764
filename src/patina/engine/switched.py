"""Which servers and tools are on in a conversation."""

from collections.abc import Iterable
from fnmatch import fnmatchcase

from patina.model.chat import ToolInfo
from patina.model.tree import Tree


def is_on(tree: Tree, server: str, tool: str = "") -> bool:
    """Whether the conversation's fact "tools" has a server, or its tool, on. Without one, all are.

    Each glob of it is that of a server, whose tools are all on then, or of `server.tool`. Without
    `tool`, any glob of the server's tools will do.
    """
    globs = tree.facts.get("tools")
    if globs is None:
        return True
    return any(covers(glob, server, tool) for glob in globs)


def covers(glob: str, server: str, tool: str = "") -> bool:
    """Whether one glob of the fact is that of a server's tool; without `tool`, of any it has."""
    if fnmatchcase(server, glob):
        return True
    of_server, dot, of_tool = glob.partition(".")
    return bool(dot) and fnmatchcase(server, of_server) and (not tool or fnmatchcase(tool, of_tool))


def those_on(tree: Tree, tools: Iterable[ToolInfo]) -> tuple[ToolInfo, ...]:
    """Return those of the tools that are on."""
    return tuple(tool for tool in tools if is_on(tree, tool.server, tool.tool))

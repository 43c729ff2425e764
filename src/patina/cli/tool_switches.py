"""Turning servers and tools on and off in a conversation: its fact "tools" before and after.

The fact names what is on, and has no word for what is not: turning one thing off names the rest.
"""

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Final

from patina.engine.switched import covers
from patina.model.faults import UsageFault

Globs = tuple[str, ...]
ALL: Final[Globs] = ("*",)
# The names of the tools of each configured server; None where they are not known.
Offers = Mapping[str, Sequence[str] | None]


def turned_on(globs: Globs, name: str, offers: Offers) -> Globs:
    """Return `globs` with a server, a `server.tool` or what a glob means on, too.

    Raises `UsageFault` where nothing is called `name`.
    """
    on = _glob_of(name, offers)
    now = [glob for glob in globs if glob != on and on != "*" and _server(glob) != on]
    now.append(on)
    for server, tools in offers.items():
        if tools and all(any(covers(glob, server, tool) for glob in now) for tool in tools):
            now = [glob for glob in now if _server(glob) != server]
            if not _whole(now, server):
                now.append(server)
    return ALL if all(_whole(now, server) for server in offers) else tuple(now)


def turned_off(globs: Globs, name: str, offers: Offers) -> Globs:
    """Return `globs` without what `name` means, as `turned_on`; the rest of it stays.

    Raises `UsageFault` also where the rest of a server is to stay, and its tools are not known.
    """
    off = _glob_of(name, offers)
    return tuple(dict.fromkeys(left for glob in globs for left in _without(glob, off, offers)))


def _without(glob: str, off: str, offers: Offers) -> list[str]:
    """Return `glob` as it is where `off` takes nothing from it, else what is left of it."""
    taken, left = False, list[str]()
    for server, tools in offers.items():
        if not covers(glob, server):
            continue
        if fnmatchcase(server, off):
            taken = True
            continue
        if covers(off, server):
            if tools is None:
                raise UsageFault(
                    f"The tools of {server} are not known, so none of them is turned off alone.",
                    hint=f"/tools off {server} turns all of them off; /mcp says how it is.",
                )
            stay = [tool for tool in tools if covers(glob, server, tool)]
            kept = [tool for tool in stay if not covers(off, server, tool)]
            if kept != stay:
                taken = True
                left += [_literal(server, tool) for tool in kept]
                continue
        left.append(server if fnmatchcase(server, glob) else f"{server}.{glob.partition('.')[2]}")
    return left if taken else [glob]


def _glob_of(name: str, offers: Offers) -> str:
    server, _, tool = name.partition(".")
    if tool and tool in (offers.get(server) or ()):
        return _literal(server, tool)
    for server, tools in offers.items():
        if fnmatchcase(server, name):
            return name
        if any(covers(name, server, tool) for tool in ([""] if tools is None else tools)):
            return name
    raise UsageFault(
        f"No server and no tool is called {name}.",
        hint="/tools lists the tools; * stands for any letters, as in github.get_*",
    )


def _literal(server: str, tool: str) -> str:
    """Return the glob of that one tool: servers call tools what they like."""
    return f"{server}.{''.join(f'[{sign}]' if sign in '*?[' else sign for sign in tool)}"


def _server(glob: str) -> str:
    """Return the server whose tools `glob` is of, "" where it is that of servers."""
    server, dot, _ = glob.partition(".")
    return server if dot else ""


def _whole(globs: Sequence[str], server: str) -> bool:
    return any(fnmatchcase(server, glob) for glob in globs)

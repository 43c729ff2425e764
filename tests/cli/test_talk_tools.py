"""Tools in the plain chat: which are on, what they cost, and a call that is run again."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.cli.model_server import HELLO, ModelServer, model_server
from tests.cli.support import home, in_process, patina
from tests.cli.terminal import CTRL_D, terminal
from tests.cli.test_chat import DEMO, PROMPT, say, transcripts
from tests.mcp.house import ODD

from patina.cli.tool_switches import ALL, Globs, turned_off, turned_on
from patina.engine.switched import covers
from patina.model.faults import UsageFault

pytest.importorskip("pty")
OFFERS = {
    "demo": ["add", "echo", "now"],
    "github": ["get_issue", "get_repo", "odd[1]*", "odd1x"],
    "empty": [],
    "unknown": None,
}
GETS = ("github.get_issue", "github.get_repo")
KNOWN = {name: tools for name, tools in OFFERS.items() if tools is not None}
# The first call of its tool never ends, the others do at once.
SLOW_ONCE = """\
import json, pathlib, sys
place = pathlib.Path(sys.argv[1])
tools = [{"name": "look", "description": "Looks", "inputSchema": {"type": "object"}}]
for line in sys.stdin:
    asked = json.loads(line)
    method, result = asked.get("method"), {}
    if method == "initialize":
        result = {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}}}
        result["serverInfo"] = {"name": "slow", "version": "1"}
    elif method == "tools/list":
        result = {"tools": tools}
    elif method == "tools/call":
        if not place.exists():
            place.touch()
            continue
        result = {"content": [{"type": "text", "text": "seen"}]}
    if "id" in asked:
        print(json.dumps({"jsonrpc": "2.0", "id": asked["id"], "result": result}), flush=True)
"""


@pytest.fixture
def near() -> Iterator[ModelServer]:
    with model_server() as server:
        home().mkdir(parents=True)
        (home() / "config.toml").write_text(
            'default_model = "near/one"\n[chat]\ntitles = "off"\n'
            f'[providers.near]\nkind = "openai_compatible"\nbase_url = "{server.url}"\n'
        )
        yield server


def told(near: ModelServer) -> set[str]:
    """The tools of servers that the model was told of with the newest request."""
    tools = near.requests[-1][1].get("tools", [])
    names = {tool["function"]["name"] for tool in tools}
    return {name for name in names if not name.startswith("patina__")}


@pytest.mark.parametrize(
    ("before", "verb", "name", "after"),
    [
        (ALL, "off", "demo", ("github", "empty", "unknown")),
        (ALL, "off", "demo.echo", ("demo.add", "demo.now", "github", "empty", "unknown")),
        (ALL, "off", "*", ()),
        (("demo",), "off", "github", ("demo",)),
        (("demo.*",), "off", "demo.a*", ("demo.echo", "demo.now")),
        (("github",), "off", "github.odd[1]*", (*GETS, "github.odd1x")),
        (("github",), "off", "github.get_*", ("github.odd[[]1][*]", "github.odd1x")),
        (("gone", "demo"), "off", "demo", ("gone",)),
        (("*.get_*", "demo"), "off", "demo.now", ("*.get_*", "demo.add", "demo.echo")),
        ((), "on", "demo", ("demo",)),
        (("demo.add",), "on", "demo", ("demo",)),
        (("demo.add", "demo.now"), "on", "demo.echo", ("demo",)),
        ((), "on", "github.odd[1]*", ("github.odd[[]1][*]",)),
        (("demo.add",), "on", "github.get_*", ("demo.add", "github.get_*")),
        ((), "on", "unknown.some", ("unknown.some",)),
        (("demo",), "on", "*", ALL),
        (("github", "empty", "unknown"), "on", "demo", ALL),
        (ALL, "on", "demo", ALL),
    ],
)  # fmt: skip
def test_switches(before: Globs, verb: str, name: str, after: Globs) -> None:
    turned = turned_on if verb == "on" else turned_off
    assert turned(before, name, OFFERS) == after


@pytest.mark.parametrize("name", ["nothing", "demo.nothing", "demo.", "x*", "empty.*", ""])
def test_what_is_not_there_is_not_switched(name: str) -> None:
    for turned in (turned_on, turned_off):
        with pytest.raises(UsageFault, match="No server and no tool is called"):
            turned(ALL, name, OFFERS)


def test_the_rest_of_a_server_that_is_not_known_is_not_guessed() -> None:
    with pytest.raises(UsageFault, match="The tools of unknown are not known"):
        turned_off(ALL, "unknown.some", OFFERS)
    assert "unknown" not in turned_off(ALL, "unknown", OFFERS)


NAMES = st.sampled_from(
    ["*", "demo", "github", "empty", "d*", "*.*", "demo.*", "*.get_*", "github.odd?x"]
    + [f"{server}.{tool}" for server, tools in KNOWN.items() for tool in tools]
)


@given(st.lists(st.tuples(st.booleans(), NAMES), max_size=6), NAMES)
def test_a_switch_turns_what_it_names_and_nothing_else(
    steps: list[tuple[bool, str]], name: str
) -> None:
    def tools(globs: Globs) -> set[tuple[str, str]]:
        every = [(server, tool) for server, names in KNOWN.items() for tool in names]
        return {one for one in every if any(covers(glob, *one) for glob in globs)}

    globs: Globs = ALL
    for switch, which in steps:
        globs = (turned_on if switch else turned_off)(globs, which, KNOWN)
    meant = tools(turned_on((), name, KNOWN))
    assert meant or name == "empty"
    assert tools(turned_on(globs, name, KNOWN)) == tools(globs) | meant
    assert tools(turned_off(globs, name, KNOWN)) == tools(globs) - meant


def test_tools_are_turned_on_and_off_and_stay_so(near: ModelServer) -> None:
    assert in_process("mcp", "add", "demo", "--", *DEMO) == 0
    assert in_process("mcp", "add", "odd", "--", sys.executable, str(ODD), "fine") == 0
    with terminal("chat", "--plain") as screen:
        screen.see(PROMPT)
        shown = say(screen, "/tools", "In all about ")
        assert "TOOL" in shown
        assert "demo: 4 of 4 tools on, about " in shown
        assert "odd: 1 of 1 tool on, about " in shown
        # Before the first message: kept until it.
        shown = say(screen, "/tools off demo.echo odd", "In all about ")
        assert "On in this conversation: demo.add, demo.now, demo.word_count." in shown
        assert "demo: 3 of 4 tools on, about " in shown
        assert "odd: 0 of 1 tool on.\r\n" in shown
        say(screen, "hello", HELLO)
        assert told(near) == {"demo__add", "demo__now", "demo__word_count"}
        shown = say(screen, "/tools", "In all about ")
        assert "off" in shown.partition("demo.echo")[2].partition("\r\n")[0]
        say(screen, "/tools on odd.echo", "In all about ")
        say(screen, "/tools off demo.now demo.add", "demo: 1 of 4 tools on")
        say(screen, "again", HELLO)
        assert told(near) == {"demo__word_count", "odd__echo"}
        say(screen, "/tools off nothing", "No server and no tool is called nothing.")
        say(screen, "/tools maybe", "/tools does not know maybe.")
        say(screen, "/tools on", "/tools does not know on.")
        screen.type(CTRL_D)
        assert screen.end() == 0
    with terminal("chat", "-c") as screen:
        screen.see(PROMPT)
        say(screen, "and now", HELLO)
        assert told(near) == {"demo__word_count", "odd__echo"}
        say(screen, "/tools off *", "On in this conversation: no tools.")
        say(screen, "none", HELLO)
        assert told(near) == set()
        say(screen, "/tools on *", "On in this conversation: all tools.")
        say(screen, "all", HELLO)
        assert len(told(near)) == 5
        say(screen, "/tools off demo", "odd: 1 of 1")
        say(screen, "/new", "A new conversation.")
        say(screen, "other", HELLO)
        assert len(told(near)) == 5
        screen.type(CTRL_D)
        assert screen.end() == 0
    facts = [item["tools"] for items in transcripts().values() for item in items if "tools" in item]
    assert facts[0] == ["demo.add", "demo.now", "demo.word_count"]
    assert facts[-2:] == [["*"], ["odd"]]


def test_what_nobody_has_seen_is_marked(near: ModelServer, tmp_path: Path) -> None:
    listed = tmp_path / "tools.json"
    schema = '"inputSchema": {"type": "object"}'
    old, new = f'{{"name": "old", {schema}', f'{{"name": "more", {schema}}}'
    listed.write_text(f'{{"tools": [{old}}}]}}')
    changing = (sys.executable, str(ODD), "changing", str(tmp_path))
    assert in_process("mcp", "add", "odd", "--", *changing) == 0
    assert patina("mcp", "tools", "odd").returncode == 0
    listed.write_text(f'{{"tools": [{old}, "description": "!"}}, {new}]}}')
    assert patina("mcp", "tools", "odd", "--refresh").returncode == 0
    with terminal("chat") as screen:
        screen.see(PROMPT)
        shown = say(screen, "/tools", "patina mcp review odd")
        assert "new" in shown.partition("odd.more")[2].partition("\r\n")[0]
        assert "changed" in shown.partition("odd.old")[2].partition("\r\n")[0]
        assert "odd: 0 of 2 tools on." in shown
        screen.type(CTRL_D)
        assert screen.end() == 0


def test_from_a_pipe_tools_are_listed_beside_the_answers(near: ModelServer) -> None:
    assert in_process("mcp", "add", "demo", "--", *DEMO) == 0
    done = patina("chat", stdin="/tools\n/tools off demo.echo\nhello\n")
    assert done.stdout == f"{HELLO}\n"
    assert "demo.echo\ton\t" in done.stderr
    assert "demo: 3 of 4 tools on, about " in done.stderr
    assert "demo__echo" not in told(near)


def test_many_tools_are_found_not_told(near: ModelServer) -> None:
    text = (home() / "config.toml").read_text()
    (home() / "config.toml").write_text(text.replace("[chat]", '[chat]\nfind_tools = "always"'))
    assert in_process("mcp", "add", "demo", "--", *DEMO) == 0
    done = patina("chat", stdin="/tools\n")
    assert "The model is told of none of them, and finds them" in done.stderr


#
def test_a_call_that_failed_of_something_that_may_pass_is_run_again(
    near: ModelServer, tmp_path: Path
) -> None:
    script = tmp_path / "slow.py"
    script.write_text(SLOW_ONCE)
    added = ("mcp", "add", "slow", "--tool-timeout", "1", "--")
    assert in_process(*added, sys.executable, str(script), str(tmp_path / "called")) == 0
    with terminal("chat", "--approve", "all") as screen:
        screen.see(PROMPT)
        say(screen, "/retry call", "This conversation has no messages yet.")
        say(screen, "hello", HELLO)
        say(screen, "/retry call", "No tool call of this conversation failed")
        say(screen, "/retry nothing", "/retry does not know nothing.")
        shown = say(screen, "call slow__look {}", "(/retry call runs slow.look again.)")
        assert "slow.look timed out after 1s" in shown
        say(screen, "/model near/two", "Model: near/two")
        shown = say(screen, "/retry call", "The tool said: seen")
        assert "slow.look completed" in shown
        assert near.requests[-1][1]["model"] == "two"
        # It was put right on this branch; the other one still has it.
        say(screen, "/retry call", "No tool call of this conversation failed")
        say(screen, "/model", "Model: near/two")
        screen.type(CTRL_D)
        assert screen.end() == 0
    ((_, items),) = transcripts().items()
    statuses = [item["status"] for item in items if item["k"] == "result"]
    assert statuses == ["timed_out", "completed"]

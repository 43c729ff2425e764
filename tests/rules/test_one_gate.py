"""There is one way to a server's tools, and the gate stands in it.

Every place from which a tool of a server is run is listed here, with who is allowed to be there. A
new one fails this test until somebody has looked at it.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

# What runs a tool: the method, and what it is called on (its last name).
RUNS = {
    ("call", "tools"),
    ("call", "_tools"),
    ("resume", "tools"),
    ("resume", "_tools"),
    ("call", "supervisor"),
    ("call", "_supervisor"),
    ("resume", "_supervisor"),
    ("call", "keeper"),
    ("resume", "keeper"),
    ("call", "connection"),
    ("resume", "connection"),
    ("call", "_caller"),
    ("resume", "_caller"),
}
NAMES = {"run_tool", "resume_task", "call_tool", "send_call_tool", "read_resource"}

# file -> why it may run a tool.
BEFORE_THE_GATE = {
    "engine/calling.py": "a call that was decided: `Cleared` is made in tool_step only",
    "engine/tool_step.py": "runs what was cleared",
    "cli/mcp_call.py": "a person's own call, after `_allow` asked the gate",
}
BEHIND_THE_GATE = {
    "engine/own_tools.py": "`ports.tools.Tools` of a turn, around that of the servers",
    "mcp/connection.py": "one server's connection",
    "mcp/sdk.py": "the protocol",
    "mcp/toolset.py": "`ports.tools.Tools` over the connections",
}


def calls_in(path: Path) -> Iterator[tuple[str, str, int]]:
    """Yield method, receiver and line of each call of an attribute."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            on = node.func.value
            name = on.attr if isinstance(on, ast.Attribute) else getattr(on, "id", "")
            yield node.func.attr, name, node.lineno


def runs_in(path: Path) -> list[int]:
    return [
        line
        for method, receiver, line in calls_in(path)
        if (method, receiver) in RUNS or method in NAMES
    ]


def test_each_place_that_runs_a_tool_is_known(root: Path) -> None:
    source = root / "src" / "patina"
    found = {path.relative_to(source).as_posix() for path in source.rglob("*.py") if runs_in(path)}
    assert found == {*BEFORE_THE_GATE, *BEHIND_THE_GATE}


def test_a_call_is_cleared_in_one_place_only(root: Path) -> None:
    source = root / "src" / "patina"
    made = [
        path.relative_to(source).as_posix()
        for path in source.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "Cleared"
    ]
    assert made == ["engine/tool_step.py"] * 2


def test_the_gate_is_asked_where_a_call_is_cleared_or_made_by_hand(root: Path) -> None:
    source = root / "src" / "patina"
    asking = {
        path.relative_to(source).as_posix()
        for path in source.rglob("*.py")
        for method, receiver, _ in calls_in(path)
        if (method, receiver) in {("decide", "gate"), ("decide", "_gate")}
    }
    assert asking == {"engine/judging.py", "cli/mcp_call.py"}
    by_hand = ast.parse((source / "cli/mcp_call.py").read_text(encoding="utf-8"))
    body = next(
        node
        for node in by_hand.body
        if isinstance(node, ast.AsyncFunctionDef) and node.name == "call_tool"
    )
    lines = {
        node.func.id if isinstance(node.func, ast.Name) else ast.unparse(node.func): node.lineno
        for node in ast.walk(body)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute)
    }
    assert lines["_allow"] < lines["app.tools.call"]


def test_a_new_way_is_found(tmp_path: Path) -> None:
    path = tmp_path / "new.py"
    path.write_text("async def f(app):\n    await app.supervisor.call('a', 'b', {})\n")
    assert runs_in(path) == [2]

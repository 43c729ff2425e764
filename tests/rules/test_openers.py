"""There is one way to a browser, and what it is given was checked.

Every module that starts a program is listed here, with what it starts. A new one fails this test
until somebody has looked at it.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

OPENER = "assembly/browser.py"
# file -> what it starts.
STARTS = {
    OPENER: "a browser, with a `Page`",
    "cli/editor.py": "the user's editor, with a file of ours",
    "cli/output.py": "the user's pager, with nothing",
    "engine/own_tools.py": "Python, with a calculation on standard input",
    "mcp/login_path.py": "the user's shell, with words of ours",
    "mcp/transports/process.py": "servers that the user allowed",
}
MODULES = {"subprocess", "pty", "webbrowser", "multiprocessing"}
CALLS = {"open_process", "run_process", "create_subprocess_exec", "create_subprocess_shell"}
OF_OS = ("system", "popen", "startfile", "exec", "spawn", "posix_spawn", "fork")
# What opens addresses, by the names that programs and libraries have for it.
OPENERS = (
    *("webbrowser", "startfile", "xdg-open", "gio", "x-www-browser", "sensible-browser", "wslview"),
    *("rundll32", "ShellExecute", "/usr/bin/open", "osascript", "explorer.exe", "cmd.exe"),
    *("QDesktopServices", "BROWSER"),
)


def nodes(path: Path) -> Iterator[ast.AST]:
    return ast.walk(ast.parse(path.read_text(encoding="utf-8")))


def starts_programs(path: Path) -> bool:
    for node in nodes(path):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names]
            if isinstance(node, ast.ImportFrom):
                names = [node.module or "", *(CALLS & set(names))]
            if any(name.split(".")[0] in MODULES or name in CALLS for name in names):
                return True
        if isinstance(node, ast.Attribute):
            of_os = isinstance(node.value, ast.Name) and node.value.id == "os"
            if node.attr in CALLS or (of_os and node.attr.startswith(OF_OS)):
                return True
    return False


def spoken(path: Path) -> set[str]:
    """Names and texts of a module, but no comments and no documentation."""
    found = set()
    for node in nodes(path):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.add(node.value)
        elif isinstance(node, ast.Attribute):
            found.add(node.attr)
        elif isinstance(node, ast.Name | ast.alias):
            found.add(node.id if isinstance(node, ast.Name) else node.name)
    return found


def sources(root: Path) -> dict[str, Path]:
    folder = root / "src" / "patina"
    return {path.relative_to(folder).as_posix(): path for path in folder.rglob("*.py")}


def test_each_module_that_starts_programs_is_known(root: Path) -> None:
    assert {name for name, path in sources(root).items() if starts_programs(path)} == set(STARTS)


def test_one_module_opens_addresses(root: Path) -> None:
    found = {name for name, path in sources(root).items() if spoken(path) & set(OPENERS)}
    assert found == {OPENER}


def test_it_takes_nothing_but_pages(root: Path) -> None:  # CVE-2025-55733, CVE-2026-43899
    takes = {
        node.name: [ast.unparse(one.annotation) for one in node.args.args if one.annotation]
        for node in nodes(sources(root)[OPENER])
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_")
    }
    assert takes == {
        "has_browser": ["Mapping[str, str]"],
        "open_page": ["Page", "Mapping[str, str]"],
    }


def test_pages_are_made_in_one_place_only(root: Path) -> None:
    made = [
        name
        for name, path in sources(root).items()
        for node in nodes(path)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Page"
    ]
    assert made == ["model/pages.py"]


def test_no_shell_reads_what_is_started(root: Path) -> None:
    for name, path in sources(root).items():
        for node in nodes(path):
            if isinstance(node, ast.keyword) and node.arg == "shell":
                assert isinstance(node.value, ast.Constant), name
                assert node.value.value is False, name

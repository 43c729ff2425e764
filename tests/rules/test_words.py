"""What must stand in no file of the project."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

# The patterns are put together so that they do not match this file.
SECRETS = re.compile(
    "|".join(
        (
            r"\bsk-(?:ant-|proj-)?[A-Za-z0-9_]{20,}",
            r"\bgh[pousr]_[A-Za-z0-9]{36}",
            r"\bgithub_pat_[A-Za-z0-9_]{40,}",
            r"\bAKIA[0-9A-Z]{16}\b",
            r"\bAIza[0-9A-Za-z_-]{35}",
            r"\bhf_[A-Za-z]{30,}",
            r"\bxox[abprs]-[A-Za-z0-9-]{10,}",
            r"-----BEGIN [A-Z ]*PRIVATE KEY" + "-----",
            r"\b(?:https?|postgres)://[^\s/:@\"'<>{}$]+:[^\s/@\"'<>{}$]+" + r"@",
        )
    )
)
MACHINE_PATHS = re.compile(
    r"(?<![\w.~$}])/" + r"(?:home|Users)/(?!<|\.\.\.|…)\w+|(?<![\w./])/" + r"(?:root|work)/\w|"
    r"[A-Z]:\\" + r"Users\\\w"
)
REGISTRIES = re.compile(
    r"pypi\.org" + r"/simple|pythonhosted\.org|registry\.(?:npmjs|yarnpkg)\.|"
    r"(?<![\w-])--(?:extra-)?(?:index-url|find-links)|\"resolved\":"
)
# Where a match is meant, and why.
MEANT = {
    ("tests/secrets/test_redact.py", "secret"): "made-up keys to be masked",
}
# Tests that let time pass, and why nothing else would do.
WAITING = {
    "tests/stand_ins.py": "asks a process that starts until it answers, for a bounded time",
    "tests/secrets/secret_service.py": "asks a service that starts until it is there, as above",
    "tests/mcp/auth/web.py": "plays a server that drips, until the client gives up",
    "tests/mcp/servers/odd.py": "plays a server that hangs, until the test ends it",
    "tests/providers/test_http.py": "plays an endpoint that drips, until the client gives up",
    "tests/providers/chaos/proxy.py": "plays a line that is slow, by milliseconds",
    "tests/providers/chaos/test_chaos.py": "watches for how long the event loop is blocked",
}


def texts(files: tuple[Path, ...]) -> Iterator[tuple[Path, str]]:
    for path in files:
        data = path.read_bytes()
        if b"\0" not in data:
            yield path, data.decode("utf-8", "replace")


@pytest.mark.parametrize(
    ("what", "pattern"),
    [("secret", SECRETS), ("machine path", MACHINE_PATHS), ("registry address", REGISTRIES)],
    ids=["secret", "machine path", "registry address"],
)
def test_no_file_holds_a(
    what: str, pattern: re.Pattern[str], root: Path, files: tuple[Path, ...]
) -> None:
    found = []
    for path, text in texts(files):
        name = path.relative_to(root).as_posix()
        for match in pattern.finditer(text):
            if (name, what) not in MEANT:
                line = text.count("\n", 0, match.start()) + 1
                found.append(f"{name}:{line}: {what}: {match.group()[:12]}…")
    assert not found, "\n".join(found)


def test_what_is_meant_is_still_there(root: Path) -> None:
    patterns = {"secret": SECRETS, "machine path": MACHINE_PATHS, "registry address": REGISTRIES}
    for name, what in MEANT:
        assert patterns[what].search((root / name).read_text(encoding="utf-8")), name


def test_the_patterns_bite() -> None:
    assert SECRETS.search("key = sk-proj-" + "a1" * 20)
    assert SECRETS.search("https://me:word" + "@example.com")
    assert MACHINE_PATHS.search("see /" + "home/alice/x")
    assert MACHINE_PATHS.search("C:\\" + "Users\\alice")
    assert not MACHINE_PATHS.search("https://example.com/" + "home/alice")
    assert REGISTRIES.search("pip install --" + "index-url x")
    assert not REGISTRIES.search("uv pip compile --no-emit-index-url")


def called(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Dotted names of all calls, with their lines."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute):
            yield node.lineno, ast.unparse(node.func)


def python(root: Path, folder: str) -> Iterator[tuple[str, ast.Module]]:
    for path in sorted((root / folder).rglob("*.py")):
        if "node_modules" not in path.parts:
            yield path.relative_to(root).as_posix(), ast.parse(path.read_text(encoding="utf-8"))


def test_tests_do_not_wait_for_time(root: Path) -> None:
    sleeps = {"time.sleep", "anyio.sleep", "asyncio.sleep", "sleep"}
    found = [
        f"{name}:{line}: {call}"
        for name, tree in python(root, "tests")
        for line, call in called(tree)
        if call in sleeps and name not in WAITING
    ]
    assert not found, "\n".join(found)


def test_tests_use_no_mock_library(root: Path) -> None:
    found = [
        f"{name}:{line}: {call}"
        for name, tree in python(root, "tests")
        for line, call in called(tree)
        if call.endswith(("Mock", "mock.patch", "mocker.patch", "monkeypatch.setattr"))
    ]
    assert not found, "\n".join(found)


def test_tasks_are_started_in_groups_only(root: Path) -> None:
    found = [
        f"{name}:{line}: {call}"
        for folder in ("src", "tests", "bench")
        for name, tree in python(root, folder)
        for line, call in called(tree)
        if call.rpartition(".")[2] in {"create_task", "ensure_future"}
    ]
    assert not found, "\n".join(found)


def test_only_the_command_line_prints(root: Path) -> None:
    found = [
        f"{name}:{line}: {call}"
        for name, tree in python(root, "src")
        if not name.startswith(("src/patina/cli/", "src/patina/__main__.py"))
        for line, call in called(tree)
        if call in {"print", "sys.stdout.write", "sys.stderr.write", "click.echo"}
    ]
    assert not found, "\n".join(found)


def test_only_config_and_secrets_read_the_environment(root: Path) -> None:
    found = [
        f"{name}:{node.lineno}"
        for name, tree in python(root, "src")
        if not name.startswith(("src/patina/config/", "src/patina/secrets/"))
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and ast.unparse(node) in {"os.environ", "os.getenv", "os.environb"}
    ]
    assert not found, "\n".join(found)

"""Files, functions and classes stay small enough to be read in one go."""

import ast
from collections.abc import Iterator
from pathlib import Path

FILE_LINES = 400
TEST_FILE_LINES = 800
FUNCTION_LINES = 60
PUBLIC_METHODS = 20
TURN_LOOP_LINES = 300

# "path" or "path:name" -> why it may be larger. A reason, not a wish.
EXCEPTIONS: dict[str, str] = {}


def too_large(path: Path, name: str, most_lines: int) -> Iterator[str]:
    text = path.read_text(encoding="utf-8")
    lines = len(text.splitlines())
    if lines > most_lines and name not in EXCEPTIONS:
        yield f"{name} has {lines} lines, more than {most_lines}"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > FUNCTION_LINES and f"{name}:{node.name}" not in EXCEPTIONS:
                yield f"{name}:{node.name} has {length} lines, more than {FUNCTION_LINES}"
        elif isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            methods = [
                child.name
                for child in node.body
                if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)
                and not child.name.startswith("_")
            ]
            if len(methods) > PUBLIC_METHODS and f"{name}:{node.name}" not in EXCEPTIONS:
                yield f"{name}:{node.name} has {len(methods)} public methods"


def test_product_is_small_enough(root: Path) -> None:
    found = [
        problem
        for path in sorted((root / "src").rglob("*.py"))
        for problem in too_large(path, path.relative_to(root).as_posix(), FILE_LINES)
    ]
    assert not found, "\n".join(found)


def test_tests_are_small_enough(root: Path) -> None:
    found = [
        problem
        for folder in ("tests", "bench")
        for path in sorted((root / folder).rglob("*.py"))
        if "node_modules" not in path.parts
        for problem in too_large(path, path.relative_to(root).as_posix(), TEST_FILE_LINES)
    ]
    assert not found, "\n".join(found)


def test_the_turn_loop_is_small_enough(root: Path) -> None:
    lines = len((root / "src/patina/engine/turn.py").read_text(encoding="utf-8").splitlines())
    assert lines < TURN_LOOP_LINES


def test_exceptions_are_still_needed(root: Path) -> None:
    gone = [name for name in EXCEPTIONS if not (root / name.partition(":")[0]).is_file()]
    assert not gone


def test_each_limit_bites(tmp_path: Path) -> None:
    body = "\n".join("    x = 1" for _ in range(FUNCTION_LINES))
    methods = "\n".join(f"    def m{n}(self): ..." for n in range(PUBLIC_METHODS + 1))
    path = tmp_path / "large.py"
    path.write_text(f"def long():\n{body}\nclass Wide:\n{methods}\n" + "\n" * FILE_LINES)
    assert [problem.split()[0] for problem in too_large(path, "large.py", FILE_LINES)] == [
        "large.py",
        "large.py:long",
        "large.py:Wide",
    ]

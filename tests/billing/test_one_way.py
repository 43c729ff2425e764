"""There is one way to a provider, and it is paid for."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from patina.providers import driver

# Who may ask a driver for a stream: the way that is paid for.
KNOWN = {"engine/paying.py"}
# Rooms that have a driver in their hands; providers are drivers themselves.
ROOMS = ("engine", "assembly", "cli", "mcp", "billing", "permission", "ui")


def streams(source: Path) -> Iterator[tuple[str, str]]:
    """Calls of `.stream(…)` by file, and whose they are."""
    for room in ROOMS:
        for path in sorted((source / room).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                    owner = ast.unparse(node.func.value)
                    if node.func.attr == "stream":
                        yield path.relative_to(source).as_posix(), owner


@pytest.fixture
def source() -> Path:
    return Path(driver.__file__).parents[1]


def test_nobody_asks_a_driver_for_a_stream_but_the_way_that_is_paid_for(source: Path) -> None:
    assert {path for path, owner in streams(source) if "driver" in owner} == KNOWN

"""Starts the other processes of `children.py`."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
Child = Callable[..., AbstractContextManager[dict[str, Any]]]


@pytest.fixture
def child() -> Child:
    """A context manager that starts a child and yields its line; the child ends with the body."""

    @contextmanager
    def run(*arguments: object) -> Iterator[dict[str, Any]]:
        command = [sys.executable, "-m", "tests.store.children", *map(str, arguments)]
        with subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            try:
                line = process.stdout.readline()
                assert line, f"{arguments} died with {process.wait(60)}"
                yield json.loads(line)
            finally:
                process.stdin.close()
                process.wait(60)

    return run

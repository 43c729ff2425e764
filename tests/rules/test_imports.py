"""The import contracts of pyproject.toml, and that each of them bites."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

LINT = "from importlinter.cli import lint_imports_command as run; run()"

# Violations: file below src/patina, what stands in it, what the linter must say.
PLANTED = (
    ("store/stray.py", "import patina.engine", "patina.store.stray -> patina.engine"),
    ("model/stray.py", "import patina.ports", "patina.model.stray -> patina.ports"),
    ("engine/stray.py", "import patina.cli", "patina.engine.stray -> patina.cli"),
    ("ui/terminal/stray.py", "import patina.ui.web", "patina.ui.terminal.stray -> patina.ui.web"),
    ("ui/web/stray.py", "import patina.store", "patina.ui.web.stray -> patina.store"),
    ("ui/stray.py", "", "patina.ui.stray"),
    ("ports/stray.py", "import textual", "patina.ports.stray -> textual"),
    ("cli/stray.py", "import mcp.types", "patina.cli.stray -> mcp"),
    ("store/late.py", "def late():\n    import httpcore2", "patina.store.late -> httpcore2"),
    ("helpers/__init__.py", "", "patina.helpers"),
)


def lint(tree: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", LINT, "--no-cache", "--no-logo"],
        cwd=tree,
        env={**os.environ, "PYTHONPATH": str(tree / "src"), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.fixture
def tree(root: Path, tmp_path: Path) -> Path:
    """A copy of the product that a test may spoil."""
    shutil.copytree(
        root / "src/patina", tmp_path / "src/patina", ignore=shutil.ignore_patterns("__pycache__")
    )
    shutil.copy(root / "pyproject.toml", tmp_path)
    return tmp_path


def test_contracts_hold(tree: Path) -> None:
    result = lint(tree)
    assert result.returncode == 0, result.stdout


def test_each_contract_bites(tree: Path) -> None:
    for name, text, _ in PLANTED:
        path = tree / "src/patina" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text + "\n")
    result = lint(tree)
    assert result.returncode == 1
    unnoticed = [said for _, _, said in PLANTED if said not in result.stdout]
    assert not unnoticed, result.stdout


def test_every_folder_is_seen_by_the_linter(root: Path) -> None:
    """A folder without `__init__.py` is no package, and its imports would go unchecked."""
    folders = {path.parent for path in (root / "src/patina").rglob("*.py")}
    assert not [folder for folder in folders if not (folder / "__init__.py").is_file()]

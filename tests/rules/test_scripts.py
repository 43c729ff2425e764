"""`./run` and `./test` on machines that lack something, and when there is nothing to do."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(
    sys.platform == "win32", reason="the stand-in interpreters are shell scripts"
)

NEEDED = ("bash", "dirname", "cmp", "cp", "mkdir", "env", "tee", "tail", "rm")


@pytest.fixture
def checkout(root: Path, tmp_path: Path) -> Path:
    """A checkout without anything installed, and beside it `bin` with the basic tools only."""
    folder = tmp_path / "checkout"
    (folder / "scripts").mkdir(parents=True)
    for name in ("run", "test", "scripts/venv.sh", "requirements.txt", "requirements-dev.txt"):
        shutil.copy(root / name, folder / name)
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in NEEDED:
        found = shutil.which(name)
        assert found
        (tools / name).symlink_to(found)
    return folder


def script(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/bash\n{text}\n")
    path.chmod(0o755)


def start(checkout: Path, name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(checkout / name), *arguments],
        cwd=checkout.parent,
        env={"PATH": str(checkout.parent / "bin"), "HOME": os.devnull},
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.fixture
def ready(checkout: Path) -> Path:
    """A checkout with all packages installed, whose checks all pass."""
    for name in ("requirements.txt", "requirements-dev.txt"):
        (checkout / ".venv").mkdir(exist_ok=True)
        shutil.copy(checkout / name, checkout / ".venv" / name)
    installed = checkout / "tests/node/node_modules/installed-lock.json"
    installed.parent.mkdir(parents=True)
    for path in (installed, checkout / "tests/node/package-lock.json"):
        path.write_text("{}")
    script(checkout / ".venv/bin/python", '[ "$2" != pytest ] || echo "3 passed"')
    script(checkout.parent / "bin/uname", "echo Linux")
    return checkout


@pytest.mark.parametrize("name", ["run", "test"])
def test_no_python(checkout: Path, name: str) -> None:
    script(checkout.parent / "bin/python3.13", "exit 1")  # a shim without a Python behind it
    result = start(checkout, name)
    assert result.returncode == 1
    assert result.stdout == ""
    assert result.stderr == ("patina: Python 3.11 or newer is missing: install it and try again\n")


def test_no_venv_module(checkout: Path) -> None:
    script(checkout.parent / "bin/python3", "[[ $2 != *ensurepip* ]]")
    result = start(checkout, "run")
    assert result.returncode == 1
    assert result.stderr.startswith("patina: python3 has no venv module: ")
    assert result.stderr.count("\n") == 1


def test_no_node(checkout: Path) -> None:
    script(checkout / ".venv/bin/python", "exit 0")
    for name in ("requirements.txt", "requirements-dev.txt"):
        shutil.copy(checkout / name, checkout / ".venv" / name)
    result = start(checkout, "test")
    assert result.returncode == 1
    assert result.stderr.startswith("patina: Node.js ")
    assert result.stderr.count("\n") == 1


def test_packages_are_installed_once_and_again_when_the_lock_changed(checkout: Path) -> None:
    script(checkout / ".venv/bin/python", 'printf "%s\\n" "$*"; [ "$1" != - ] || cat >/dev/null')
    (checkout.parent / "bin/cat").symlink_to(shutil.which("cat") or "")
    launched = f"-P {checkout}/src/patina/__main__.py ask two words\n"

    first = start(checkout, "run", "ask", "two words")
    assert "install -qq" in first.stdout
    assert f"--require-hashes -r {checkout}/requirements.txt" in first.stdout
    assert first.stdout.endswith(launched)

    second = start(checkout, "run", "ask", "two words")
    assert (second.stdout, second.stderr) == (launched, "")

    with (checkout / "requirements.txt").open("a") as lock:
        lock.write("\n")
    assert "install -qq" in start(checkout, "run").stdout


def test_what_cannot_be_installed_is_tried_again(checkout: Path) -> None:
    script(checkout / ".venv/bin/python", '[[ "$*" != *install* ]]')
    for _ in range(2):
        result = start(checkout, "run")
        assert result.returncode == 1
        assert "the packages of requirements.txt cannot be installed" in result.stderr


def test_a_failed_check_fails_all_and_the_tests_have_the_last_word(ready: Path) -> None:
    script(ready / ".venv/bin/python", '[ "$2" != pytest ] || echo "3 passed: $*"')
    result = start(ready, "test", "-k", "lock")
    assert result.returncode == 0
    assert result.stdout.endswith("== failed: none\n3 passed: -m pytest --color=no -k lock\n")

    script(
        ready / ".venv/bin/python",
        '[ "$2" != pytest ] || echo "3 passed"; [[ $2 != ruff && $2 != mypy ]]',
    )
    result = start(ready, "test")
    assert result.returncode == 1
    assert result.stdout.endswith("== failed: format lint types\n3 passed\n")

    script(ready / ".venv/bin/python", '[ "$2" != pytest ] || { echo "1 failed"; exit 1; }')
    result = start(ready, "test")
    assert result.returncode == 1
    assert result.stdout.endswith("== failed: tests\n1 failed\n")


def test_a_browser_and_a_keychain_are_installed_by_root(ready: Path) -> None:
    tools = ready.parent / "bin"
    script(tools / "id", "echo 0")
    script(tools / "dbus-run-session", "exit 0")
    script(tools / "apt-get", f'echo "$*" >> {ready.parent}/asked')
    result = start(ready, "test")
    assert result.returncode == 0
    assert result.stderr.startswith("patina: installing chromium gnome-keyring (once")
    assert result.stderr.count("\n") == 1
    update, install = (ready.parent / "asked").read_text().splitlines()
    assert update.endswith(" update")
    assert install.endswith(" install --no-install-recommends chromium gnome-keyring")

    script(tools / "chromium", "exit 0")
    script(tools / "gnome-keyring-daemon", "exit 0")
    assert start(ready, "test").stderr == ""


@pytest.mark.parametrize("kind", ["no apt", "nobody special", "no network"])
def test_the_checks_go_on_where_nothing_can_be_installed(ready: Path, kind: str) -> None:
    if kind != "no apt":
        script(ready.parent / "bin/apt-get", "echo of apt; exit 100")
    script(ready.parent / "bin/id", "echo 0" if kind == "no network" else "echo 1000")
    result = start(ready, "test")
    assert result.returncode == 0
    assert result.stdout.endswith("== failed: none\n3 passed\n")
    assert "patina: not installed: chromium gnome-keyring dbus (tests with" in result.stderr
    assert "of apt" not in result.stdout + result.stderr

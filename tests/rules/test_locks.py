"""The locked packages: whole, with hashes, from nowhere in particular."""

import json
import re
import tomllib
from pathlib import Path

import pytest

LOCKS = ("requirements.txt", "requirements-dev.txt")
PIN = re.compile(r"^([a-z0-9][a-z0-9._-]*)==(\S+)(?: ; [^\\]+)?", re.MULTILINE)


def pins(root: Path, lock: str) -> dict[str, str]:
    return dict(PIN.findall((root / lock).read_text(encoding="utf-8")))


def wanted(requirement: str) -> str:
    return re.split(r"[\s<>=!~;\[]", requirement, maxsplit=1)[0].lower()


@pytest.mark.parametrize("lock", LOCKS)
def test_every_line_is_a_pin_or_a_hash(root: Path, lock: str) -> None:
    for block in re.split(r"\n(?=\S)", (root / lock).read_text(encoding="utf-8").strip()):
        first, *rest = block.split(" \\\n")
        assert PIN.fullmatch(first), first
        assert rest, f"{first} has no hash"
        assert all(re.fullmatch(r"    --hash=sha256:[0-9a-f]{64}", line) for line in rest), first


def test_all_dependencies_are_locked(root: Path) -> None:
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    runtime, dev = (pins(root, lock) for lock in LOCKS)
    assert {wanted(name) for name in project["project"]["dependencies"]} <= runtime.keys()
    assert {wanted(name) for name in project["dependency-groups"]["dev"]} <= dev.keys()


def test_tests_run_on_what_users_get(root: Path) -> None:
    runtime, dev = (pins(root, lock) for lock in LOCKS)
    assert runtime.items() <= dev.items()


def test_node_packages_are_locked_by_content(root: Path) -> None:
    lock = json.loads((root / "tests/node/package-lock.json").read_text(encoding="utf-8"))
    packages = {name: entry for name, entry in lock["packages"].items() if name}
    assert packages
    assert not [name for name, entry in packages.items() if "integrity" not in entry]

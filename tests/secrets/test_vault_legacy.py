"""The file that secrets were in before: it moves into the encrypted one, and is gone."""

import json
import os
from pathlib import Path

import pytest
from tests.secrets.places import Computer
from tests.secrets.test_vault import POSIX

from patina.model.faults import ConfigFault


@pytest.fixture
def computer(tmp_path: Path) -> Computer:
    computer = Computer(tmp_path / "home")
    computer.folder.mkdir(mode=0o700)
    return computer


def write(computer: Computer, **secrets: str) -> None:
    computer.legacy.write_text(json.dumps({"version": 1, "secrets": secrets}))
    computer.legacy.chmod(0o600)


def test_it_moves_on_the_first_use(computer: Computer) -> None:
    write(computer, openai="sk-old-canary", other="x")
    computer.legacy.with_name(".secrets.json.lock").touch()
    assert computer.vault().get("openai") == "sk-old-canary"
    assert "sk-old-canary" in computer.seen
    assert sorted(path.name for path in computer.folder.iterdir()) == [
        *(".key.lock", "cache", "data", "key")
    ]
    assert b"canary" not in computer.file.read_bytes()
    assert computer.everything() == {"openai": "sk-old-canary", "other": "x"}


def test_where_both_exist_the_later_value_stays(computer: Computer) -> None:
    computer.protected("file")
    now = computer.file.stat().st_mtime
    write(computer, openai="older", more="x")
    os.utime(computer.legacy, (now - 100, now - 100))
    assert computer.vault().names() == ["more", "openai"]
    assert computer.everything() == {"openai": "sk-first-canary", "more": "x"}
    write(computer, openai="newer")
    now = computer.file.stat().st_mtime
    os.utime(computer.legacy, (now + 100, now + 100))
    assert computer.everything() == {"openai": "newer", "more": "x"}
    assert not computer.legacy.exists()


def test_what_is_set_at_that_moment_wins(computer: Computer) -> None:
    write(computer, openai="old", other="x")
    computer.vault().set("openai", "new")
    assert computer.everything() == {"openai": "new", "other": "x"}


@pytest.mark.parametrize("content", ["", '{"version":1,"secrets":{}}'])
def test_an_empty_one_is_removed(computer: Computer, content: str) -> None:
    computer.legacy.write_text(content)
    computer.legacy.chmod(0o600)
    assert computer.vault().names() == []
    assert not computer.legacy.exists()
    assert not computer.file.exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"version":1,"secrets":{"a":"canary', "is damaged"),
        (b'{"version":1,"secrets":{"a":"canary\xff"}}', "is damaged"),
        (b"[]", "is damaged"),
        (b'{"version":2,"secrets":{}}', "has format 2"),
    ],
)
def test_one_that_cannot_be_read_stays(computer: Computer, content: bytes, message: str) -> None:
    computer.legacy.write_bytes(content)
    computer.legacy.chmod(0o600)
    with pytest.raises(ConfigFault, match=message) as caught:
        computer.vault().names()
    assert "canary" not in str(caught.value)
    assert computer.legacy.read_bytes() == content
    assert not computer.file.exists()


@POSIX
def test_one_that_others_can_read_is_refused(computer: Computer) -> None:
    write(computer, openai="x")
    computer.legacy.chmod(0o644)
    with pytest.raises(ConfigFault, match="can be read by other users") as caught:
        computer.vault().get("openai")
    assert caught.value.failure.hint == f"Run: chmod 600 {computer.legacy}"


def test_it_stays_where_the_encrypted_one_cannot_be_opened(computer: Computer) -> None:
    computer.protected("file")
    computer.key.unlink()
    write(computer, openai="x")
    with pytest.raises(ConfigFault, match="the key was removed"):
        computer.vault().names()
    assert computer.legacy.exists()

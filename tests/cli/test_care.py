"""`patina verify`, `backup` and `restore`."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from tests.cli.support import home, in_process, patina

from patina.model.ids import new_id
from patina.model.items import Head, Message
from patina.model.parts import Text
from patina.store.journal import FileJournal

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def conversation() -> str:
    """A conversation of this home."""
    identifier, ts = new_id(), "2026-11-21T10:00:00.000Z"

    async def main() -> None:
        async with FileJournal(home() / "data", home() / "state") as journal:
            head = Head(id=identifier, ts=ts, conversation=identifier, format=1, app="test")
            said = Message(id=new_id(), ts=ts, role="user", parts=(Text("Which owl?"),))
            await journal.append(identifier, [head, said])

    anyio.run(main)
    return identifier


def transcript() -> Path:
    (path,) = home().glob("data/transcripts/*/*/*.jsonl")
    return path


def as_json(capsys: Capture, code: int, *arguments: str) -> Any:
    capsys.readouterr()
    assert in_process(*arguments, "--json") == code
    return json.loads(capsys.readouterr().out)


def test_verify(conversation: str, capsys: Capture) -> None:
    assert in_process("verify") == 0
    assert capsys.readouterr().out == (
        "1 conversation, 1 transcript, 2 sound lines, 0 attachments.\n"
        "Everything is as it was written.\n"
    )
    size = transcript().stat().st_size
    assert as_json(capsys, 0, "verify") == {
        "conversations": 1,
        "files": 1,
        "lines": 2,
        "blobs": 0,
        "unreferenced": 0,
        "usage_files": 0,
        "usage_lines": 0,
        "bytes": size,
        "damaged_lines": 0,
        "damaged": [],
    }


def test_verify_of_damage(conversation: str, capsys: Capture) -> None:
    path = transcript()
    path.write_bytes(path.read_bytes().replace(b"owl", b"elk") + b"torn")
    assert in_process("verify") == 1
    name = path.relative_to(home() / "data").as_posix()
    shown = capsys.readouterr()
    assert shown.out.splitlines()[:2] == [
        f"{name}:2: is not what its checksum says",
        f"{name}:3: is cut off, as a crash or a full disk leaves it",
    ]
    assert "2 damaged lines, 0 damaged files, in 1 file altogether." in shown.out
    assert shown.err == ""
    found = as_json(capsys, 1, "verify")
    assert found["damaged_lines"] == 2
    assert found["damaged"][0] == {
        "file": name,
        "line": 2,
        "reason": "is not what its checksum says",
    }


def test_verify_of_nothing(capsys: Capture) -> None:
    assert in_process("verify") == 0
    assert not home().exists() or not list(home().glob("data/*"))


@pytest.mark.parametrize("suffix", ["tar.gz", "zip"])
def test_there_and_back(conversation: str, tmp_path: Path, capsys: Capture, suffix: str) -> None:
    archive = tmp_path / f"backup.{suffix}"
    made = as_json(capsys, 0, "backup", str(archive))
    assert (made["files"], made["conversations"], made["left_out"]) == (1, 1, [])
    assert in_process("restore", "--drill", str(archive)) == 0
    assert "1 conversation opened, nothing kept." in capsys.readouterr().out
    tried = as_json(capsys, 0, "restore", "--drill", str(archive))
    assert (tried["drill"], tried["opened"], tried["lines"], tried["added"]) == (True, 1, 2, 0)
    assert in_process("restore", str(archive)) == 1 + 1
    assert "holds something already" in capsys.readouterr().err
    merged = as_json(capsys, 0, "restore", "--merge", str(archive))
    assert (merged["added"], merged["present"]) == (0, 1)
    other = tmp_path / "other"
    assert in_process("restore", "--to", str(other), str(archive)) == 0
    assert "1 file added to" in capsys.readouterr().out
    shown = patina(
        "sessions", "show", conversation, "--json", variables={"PATINA_HOME": str(other)}
    )
    assert json.loads(shown.stdout)["messages"][0]["text"] == "Which owl?"


def test_settings_and_keys(conversation: str, tmp_path: Path, capsys: Capture) -> None:
    (home() / "config.toml").write_text("")
    assert patina("keys", "set", "openai", stdin="canary").returncode == 0
    plain, whole = tmp_path / "plain.zip", tmp_path / "whole.zip"
    assert as_json(capsys, 0, "backup", str(plain))["files"] == 1
    assert as_json(capsys, 0, "backup", str(whole), "--with-config")["files"] == 2
    assert b"canary" not in whole.read_bytes()
    for number, options in enumerate(([], ["--with-config"])):
        other = tmp_path / str(number)
        assert in_process("restore", str(whole), "--to", str(other), *options) == 0
        assert (other / "config.toml").exists() == bool(options)
        assert not [path.name for path in other.rglob("*") if path.name in ("secrets.enc", "key")]
    assert "left as it is: config/config.toml" in capsys.readouterr().out


def test_a_backup_comes_back_beside_keys(conversation: str, tmp_path: Path) -> None:
    """Keys are in the data folder and in no backup: they may be set before it is restored."""
    archive, other = tmp_path / "a.zip", tmp_path / "other"
    assert in_process("backup", str(archive)) == 0
    at = {"PATINA_HOME": str(other)}
    assert patina("keys", "set", "openai", stdin="sk-canary", variables=at).returncode == 0
    kept = (other / "data/secrets.enc").read_bytes()
    assert in_process("restore", "--to", str(other), str(archive)) == 0
    assert (other / "data/secrets.enc").read_bytes() == kept
    assert patina("verify", variables=at).returncode == 0
    assert list((other / "data").rglob("*.jsonl"))


def test_what_is_refused(conversation: str, tmp_path: Path, capsys: Capture) -> None:
    archive = tmp_path / "a.zip"
    for code, words, arguments in (
        (2, "part of what it is a backup of", ["backup", str(home() / "data" / "a.zip")]),
        (2, "does not say what archive", ["backup", str(tmp_path / "a.7z")]),
        (2, "so it goes with no", ["restore", "--drill", "--merge", str(archive)]),
        (1, "There is no file", ["restore", "--drill", str(archive)]),
    ):
        assert in_process(*arguments) == code
        assert words in capsys.readouterr().err
    assert in_process("backup", str(archive)) == 0
    assert in_process("backup", str(archive)) == 2
    assert "exists already" in capsys.readouterr().err
    assert in_process("backup", str(archive), "--force") == 0
    archive.write_bytes(b"rubbish")
    assert in_process("restore", "--drill", str(archive)) == 1
    assert "is no backup that can be used" in capsys.readouterr().err


@pytest.fixture
def small_home(tmp_path: Path) -> Iterator[Path]:
    """A Patina folder on a disk of one megabyte, which is nearly full from the beginning."""
    if sys.platform != "linux" or not shutil.which("mount"):
        pytest.skip("only Linux can mount a small disk")
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("this user or container may not mount")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_warning_before_the_disk_is_full(small_home: Path) -> None:
    where = {"PATINA_HOME": str(small_home)}
    asked = patina("ask", "-m", "demo", "Which owl?", variables=where)
    assert asked.returncode == 0
    assert asked.stderr.startswith("patina: The disk is nearly full: 1 MB are free for")
    assert "nearly full" not in patina("verify", variables=where).stderr
    (log,) = small_home.glob("state/logs/patina.log")
    assert "The disk is nearly full" in log.read_text()
    assert len(list(small_home.glob("data/transcripts/*/*/*.jsonl"))) == 1

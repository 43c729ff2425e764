"""Processes that are killed, and processes that write at the same time: nothing is lost."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from tests.secrets.places import Computer
from tests.secrets.secret_service import missing, secret_service
from tests.secrets.test_vault import HOMES
from tests.secrets.vault_child import computer

from patina.secrets.envelope import Home
from patina.secrets.keychain import Keychain

ROOT = Path(__file__).parents[2]
POSIX = pytest.mark.skipif(os.name != "posix", reason="SIGKILL is a POSIX signal")


def start(folder: Path, work: str, die_at: int = 0) -> subprocess.Popen[str]:
    arguments = [str(folder), work, *([str(die_at)] if die_at else [])]
    command = [sys.executable, "-m", "tests.secrets.vault_child", *arguments]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def end(process: subprocess.Popen[str]) -> tuple[int, str]:
    with process:
        output, _ = process.communicate(timeout=60)
        return process.returncode, output


def killed_at_each_step(whole: Path, folder: Path, work: str) -> list[Computer]:
    """The computer after each step at which `work` was killed."""
    shutil.copytree(whole, folder / "counted")
    code, output = end(start(folder / "counted", work))
    assert code == 0
    steps = int(output)
    assert steps >= 4
    for step in range(1, steps + 1):
        shutil.copytree(whole, folder / str(step))
    for first in range(1, steps + 1, 2):
        running = [
            start(folder / str(step), work, step)
            for step in range(first, min(first + 2, steps + 1))
        ]
        assert [end(each)[0] for each in running] == [-signal.SIGKILL] * len(running)
    return [computer(folder / str(step)) for step in range(1, steps + 1)]


@POSIX
@pytest.mark.parametrize("work", ["set", "remove"])
def test_a_change_is_done_or_not(tmp_path: Path, work: str) -> None:
    whole = computer(tmp_path / "whole")
    whole.protected("file").set("other", "stays")
    found = []
    for after in killed_at_each_step(whole.folder, tmp_path, work):
        kept = after.everything()
        assert kept.pop("other") == "stays"
        found.append(kept.get("openai"))
        after.vault().set("openai", "goes on")
        assert after.everything() == {"openai": "goes on", "other": "stays"}
    new = "after" if work == "set" else None
    assert found[0] == "sk-first-canary"
    assert found[-1] == new
    assert set(found) == {"sk-first-canary", new}


@POSIX
@pytest.mark.parametrize(
    ("before", "work"),
    [
        *((home, "rotate") for home in HOMES),
        *(("file", home) for home in ("variable", "passphrase")),
        *((home, "file") for home in ("variable", "passphrase")),
    ],
)
def test_a_key_that_moves_is_always_there(tmp_path: Path, before: Home, work: str) -> None:  # M-24
    whole = computer(tmp_path / "whole")
    whole.protected(before).change("@grant/a", lambda _: b"record")
    for after in killed_at_each_step(whole.folder, tmp_path, work):
        assert after.everything() == {"openai": "sk-first-canary"}
        assert after.vault(index=False).read("@grant/a") == b"record"
        after.vault().rekey("file")
        after.vault().set("more", "goes on")
        assert after.everything() == {"openai": "sk-first-canary", "more": "goes on"}


@POSIX
@pytest.mark.skipif(bool(missing()), reason=missing() or "it is there")
@pytest.mark.parametrize(
    ("before", "work"), [("file", "keychain"), ("keychain", "file"), ("keychain", "rotate")]
)
def test_a_key_that_moves_to_or_from_a_keychain_is_always_there(  # M-24
    tmp_path: Path, before: Home, work: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A short name: sockets have short ones only.
    with tempfile.TemporaryDirectory(prefix="pt") as folder, secret_service(Path(folder)) as found:
        for name, value in found.items():
            monkeypatch.setenv(name, value)
        monkeypatch.delenv("PYTHON_KEYRING_BACKEND", raising=False)

        def keychain() -> Keychain:
            return Keychain(os.environ)

        def made(name: str) -> Computer:
            one = Computer(tmp_path / name)
            vault = one.vault(keychain=keychain)
            vault.rekey(before)
            vault.set("openai", "sk-first-canary")
            return one

        code, output = end(start(made("counted").folder, work))
        assert code == 0
        steps = int(output)
        assert steps >= 6
        for step in range(1, steps + 1):
            one = made(str(step))  # keys in a keychain cannot be copied
            assert end(start(one.folder, work, step))[0] == -signal.SIGKILL
            after = one.vault(index=False, keychain=keychain)
            assert after.get("openai") == "sk-first-canary", step
            after.rekey()
            after.set("more", "goes on")
            again = one.vault(index=False, keychain=keychain)
            assert [again.get(name) for name in again.names()] == ["goes on", "sk-first-canary"]


@POSIX
def test_the_file_of_before_is_moved_whenever_that_was_cut_short(tmp_path: Path) -> None:
    whole = Computer(tmp_path / "whole")
    whole.folder.mkdir(mode=0o700)
    whole.legacy.write_text('{"version":1,"secrets":{"openai":"sk-old","a/B":"two"}}')
    whole.legacy.chmod(0o600)
    for after in killed_at_each_step(whole.folder, tmp_path, "move"):
        assert after.legacy.exists() or after.file.exists()
        assert after.everything() == {"openai": "sk-old", "a/B": "two"}
        assert not after.legacy.exists()


def test_processes_that_begin_at_once_make_one_file(tmp_path: Path) -> None:
    one = Computer(tmp_path / "home")
    one.folder.mkdir(mode=0o700)
    one.legacy.write_text('{"version":1,"secrets":{"openai":"sk-old"}}')
    one.legacy.chmod(0o600)
    running = [start(one.folder, "many") for _ in range(3)]
    assert [end(process)[0] for process in running] == [0, 0, 0]
    kept = one.everything()
    assert len(kept) == 61
    assert kept["openai"] == "sk-old"
    assert not one.legacy.exists()


def test_a_key_is_replaced_while_others_write(tmp_path: Path) -> None:
    one = computer(tmp_path / "home")
    one.protected("file")
    running = [start(one.folder, work) for work in ("many", "keep rotating", "keep rotating")]
    assert [end(process)[0] for process in running] == [0, 0, 0]
    assert len(one.everything()) == 21
    assert len(one.key.read_text().splitlines()) == 1

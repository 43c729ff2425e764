"""A file, or a key, that is not as it was: it is told, nothing is guessed, nothing begun anew."""

import os
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from tests.secrets.places import NEW_KEY, Computer
from tests.secrets.test_vault import HOMES, POSIX

from patina.model.faults import ConfigFault
from patina.secrets.envelope import Home
from patina.secrets.protection import protection_of
from patina.secrets.vault import Vault


@pytest.fixture
def computer(tmp_path: Path) -> Computer:
    computer = Computer(tmp_path / "home")
    computer.protected("file")
    return computer


USES: tuple[Callable[[Vault], object], ...] = (
    lambda vault: vault.get("openai"),
    lambda vault: vault.names(),
    lambda vault: vault.set("more", "x"),
    lambda vault: vault.remove("openai"),
    lambda vault: vault.read("@grant/a"),
    lambda vault: vault.change("@grant/a", lambda _: b"x"),
    lambda vault: vault.rekey(),
    lambda vault: vault.rekey("passphrase"),
    lambda vault: vault.check(),
)


def refused(computer: Computer, match: str) -> ConfigFault:
    """Every use of the file is refused alike, and leaves it as it is."""
    before = computer.file.read_bytes()
    found = []
    for use in USES:
        with pytest.raises(ConfigFault, match=match) as caught:
            use(computer.vault(index=False))
        assert caught.value.failure.hint
        assert "canary" not in f"{caught.value}{caught.value.failure.hint}"
        found.append(caught.value)
    assert computer.file.read_bytes() == before
    told = protection_of(computer.vault())
    assert told.state in ("broken", "locked")
    assert str(found[0]) in told.text
    return found[0]


def test_any_bit_that_flips_is_noticed(computer: Computer) -> None:
    whole = computer.file.read_bytes()
    for bit in range(8 * len(whole)):
        changed = bytearray(whole)
        changed[bit // 8] ^= 1 << bit % 8
        computer.file.write_bytes(changed)
        with pytest.raises(ConfigFault):
            computer.vault(index=False).get("openai")
    computer.file.write_bytes(whole)
    assert computer.everything() == {"openai": "sk-first-canary"}


@pytest.mark.parametrize("home", HOMES)
def test_a_header_that_is_changed_is_noticed(tmp_path: Path, home: Home) -> None:
    computer = Computer(tmp_path / "other")
    computer.protected(home)
    whole = msgspec.json.decode(computer.file.read_bytes())
    others = (("home", "keychain"), ("home", "file"), ("id", "0" * 32), ("salt", "AA=="))
    for field, value in others:
        if whole["key"].get(field) == value:
            continue
        changed = {**whole, "key": {**whole["key"], field: value}}
        computer.file.write_bytes(msgspec.json.encode(changed) + b"\n")
        with pytest.raises(ConfigFault):
            computer.vault(index=False).get("openai")


def test_any_piece_that_is_missing_is_noticed(computer: Computer) -> None:
    whole = computer.file.read_bytes()
    for length in range(len(whole)):
        computer.file.write_bytes(whole[:length])
        with pytest.raises(ConfigFault, match="is damaged"):
            computer.vault(index=False).get("openai")


@pytest.mark.parametrize(
    "content",
    [b"", b"\n", b"{}", b"[]", b"\x00\xff", b'{"version":1}\n', b'{"version":"1"}', b"[" * 100_000],
)
def test_a_damaged_file_is_left_alone(computer: Computer, content: bytes) -> None:
    computer.file.write_bytes(content)
    fault = refused(computer, "is damaged")
    assert "move it away and set the keys again" in fault.failure.hint


def test_what_is_added_is_noticed(computer: Computer) -> None:
    whole = computer.file.read_bytes()
    for changed in (whole + b" ", b" " + whole, whole + whole, whole.replace(b",", b", ", 1)):
        computer.file.write_bytes(changed)
        refused(computer, "is damaged")


def test_a_newer_format_is_left_alone(computer: Computer) -> None:
    computer.file.write_bytes(b'{"version":2,"anything":[]}')
    assert "newer Patina" in refused(computer, "has format 2").failure.hint


def test_work_without_bounds_is_refused(computer: Computer) -> None:
    key = b'{"id":"%s","home":"passphrase","check":"AAAA","salt":"AAAA","work":%s}'
    work = b'{"memory":999999999,"passes":3,"lanes":4}'
    header = key % (b"0" * 32, work)
    computer.file.write_bytes(b'{"version":1,"key":%s,"nonce":"","data":""}\n' % header)
    refused(computer, "is damaged")


@POSIX
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_files_that_others_can_read_are_refused(computer: Computer, mode: int) -> None:
    for path in (computer.file, computer.key):
        path.chmod(mode)
        hint = refused(computer, "can be read by other users").failure.hint
        assert hint == f"Run: chmod 600 {path}"
        path.chmod(0o600)
    assert computer.everything() == {"openai": "sk-first-canary"}


@POSIX
def test_a_folder_that_everybody_may_change_is_refused(computer: Computer) -> None:
    for folder in (computer.file.parent, computer.key.parent):
        folder.chmod(0o777)
        fault = refused(computer, "every user may change the folder")
        assert fault.failure.hint == f"Run: chmod 700 {folder}"
        folder.chmod(0o700)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_cannot_be_read(computer: Computer) -> None:
    computer.file.chmod(0)
    with pytest.raises(ConfigFault, match="cannot be read"):
        computer.vault().get("openai")


def test_a_key_that_is_gone(computer: Computer) -> None:
    computer.key.unlink()
    fault = refused(computer, "they are from another computer, or the key was removed")
    assert "move secrets.enc away and set the keys again" in fault.failure.hint
    assert not computer.key.exists()


@pytest.mark.parametrize("key", ["AAAA", "", "not base64"])
def test_a_key_file_that_is_damaged(computer: Computer, key: str) -> None:
    name = computer.key.read_text().split()[0]
    computer.key.write_text(f"{name} {key}\n")
    refused(computer, "key is damaged")


def test_a_wrong_key(computer: Computer) -> None:
    name = computer.key.read_text().split()[0]
    computer.key.write_text(f"{name} {NEW_KEY}\n")
    refused(computer, "another key than the one that the secrets were encrypted with")


def test_a_variable_that_is_gone_or_another(tmp_path: Path) -> None:
    computer = Computer(tmp_path / "other")
    computer.protected("variable")
    computer.environ["PATINA_KEY"] = NEW_KEY
    refused(computer, "PATINA_KEY has another key")
    computer.environ["PATINA_KEY"] = "nonsense"
    refused(computer, "PATINA_KEY is no key")
    del computer.environ["PATINA_KEY"]
    refused(computer, "expected in PATINA_KEY, which is not set")


def test_a_file_that_was_moved_away_can_come_back(computer: Computer) -> None:
    """What the hints say: begin anew, and nothing of the old file is lost by that."""
    away = computer.file.rename(computer.folder / "away")
    vault = computer.vault()
    assert vault.names() == []
    vault.set("openai", "sk-new")
    vault.rekey()
    away.replace(computer.file)
    assert computer.everything() == {"openai": "sk-first-canary"}

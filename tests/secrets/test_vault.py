"""Secrets in the encrypted file: kept, found, replaced, forgotten, wherever the key is."""

import os
import stat
import threading
from pathlib import Path

import pytest
from tests.secrets.places import KEY, NEW_KEY, PHRASE, Computer

from patina.config.files import update_file
from patina.model.faults import ConfigFault, UsageFault
from patina.secrets.envelope import Home
from patina.secrets.homes import LOCKED

HOMES: tuple[Home, ...] = ("file", "variable", "passphrase")
POSIX = pytest.mark.skipif(os.name != "posix", reason="Windows has no such bits")


@pytest.fixture
def computer(tmp_path: Path) -> Computer:
    return Computer(tmp_path / "home")


@pytest.mark.parametrize("home", HOMES)
def test_set_get_list_remove(computer: Computer, home: Home) -> None:  # A-06 M-24
    vault = computer.protected(home)
    assert vault.home() == home
    vault.set("github/GITHUB_TOKEN", 'ghp-"1"\n\u00e9')
    vault.set("github/OTHER", "second")
    other = computer.vault()
    assert other.names() == ["github/GITHUB_TOKEN", "github/OTHER", "openai"]
    assert other.get("github/GITHUB_TOKEN") == 'ghp-"1"\n\u00e9'
    assert other.get("absent") is None
    assert other.remove("openai")
    assert not other.remove("openai")
    assert vault.get("openai") is None
    assert computer.everything() == {
        "github/GITHUB_TOKEN": 'ghp-"1"\n\u00e9',
        "github/OTHER": "second",
    }


def test_looking_makes_nothing(computer: Computer) -> None:
    vault = computer.vault()
    assert (vault.get("openai"), vault.home()) == (None, None)
    assert (vault.names(), vault.records()) == ([], [])
    assert not vault.remove("openai")
    vault.check()
    vault.unlock()
    assert not computer.folder.exists()


def test_nothing_can_be_read_in_the_file(computer: Computer) -> None:
    vault = computer.protected("file")
    vault.change("@grant/far", lambda _: b"record-canary", ("token-canary",))
    content = computer.file.read_bytes()
    for secret in (b"openai", b"canary", b"grant", b"far"):
        assert secret not in content
    before = content
    vault.set("openai", "sk-first-canary")
    assert computer.file.read_bytes() == before, "nothing new is written where nothing changed"


def test_a_new_value_replaces_the_old_one(computer: Computer) -> None:  # M-24
    vault = computer.protected("file")
    vault.set("openai", "sk-second")
    assert computer.everything() == {"openai": "sk-second"}


@POSIX
def test_files_are_private(computer: Computer) -> None:
    computer.protected("file")
    for path in (computer.file, computer.key, computer.index):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert not computer.key.is_relative_to(computer.file.parent)


@pytest.mark.parametrize(
    "name", ["", "../x", "a b", "a/b/c", "/a", "a\n", "-a", "x" * 65, "sk-\u00e9", "@grant/a", "@a"]
)
def test_names_are_checked(computer: Computer, name: str) -> None:
    vault = computer.vault()
    with pytest.raises(UsageFault, match="not a name for a secret"):
        vault.set(name, "value")
    assert vault.get(name) is None


def test_an_empty_value_is_refused(computer: Computer) -> None:
    with pytest.raises(UsageFault, match="is empty"):
        computer.vault().set("a", "")


def test_records_are_apart_from_secrets(computer: Computer) -> None:
    vault = computer.protected("file")
    assert vault.read("@grant/a") is None
    vault.change("@grant/a", lambda old: (old or b"") + b"one")
    vault.change("@grant/a", lambda old: (old or b"") + b"two\xff")
    assert vault.names() == ["openai"]
    assert vault.get("@grant/a") is None
    assert not vault.remove("@grant/a")
    assert computer.vault().read("@grant/a") == b"onetwo\xff"
    assert computer.vault().records() == ["@grant/a"]
    vault.change("@grant/a", lambda _: None)
    assert computer.vault().records() == []
    with pytest.raises(ValueError, match="begin with @"):
        vault.change("openai", lambda _: b"")


def test_everything_is_told_to_the_mask_when_it_is_opened(computer: Computer) -> None:
    vault = computer.protected("file")
    vault.set("other", "other-canary")
    vault.change("@grant/a", lambda _: b"record", ("token-canary",))
    computer.seen.clear()
    again = computer.vault()
    assert again.names() == ["openai", "other"]
    assert (again.get("absent"), again.read("@grant/b")) == (None, None)
    assert computer.seen == [], "names are known without opening"
    again.get("other")
    assert set(computer.seen) == {"sk-first-canary", "other-canary", "token-canary"}


def test_what_another_process_writes_is_seen(computer: Computer) -> None:
    one = computer.protected("file")
    two = computer.vault()
    assert two.get("openai") == "sk-first-canary"
    one.set("openai", "sk-second")
    assert two.get("openai") == "sk-second"
    one.rekey("file")
    one.set("more", "more")
    assert (two.get("more"), two.names()) == ("more", ["more", "openai"])
    two.set("again", "again")
    assert one.get("again") == "again"


def test_threads_lose_nothing(computer: Computer) -> None:
    shared = computer.vault()

    def work(worker: int) -> None:
        own = shared if worker % 2 else computer.vault()
        for step in range(5):
            own.set(f"k{worker}-{step}", "v")

    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(computer.everything()) == 20


def test_a_disk_that_is_full_loses_nothing(computer: Computer) -> None:
    computer.protected("file")

    def full(path: Path, change: object) -> None:
        raise ConfigFault(f"{path} cannot be written: {os.strerror(28)}.")

    vault = computer.vault(full)
    for work in (lambda: vault.set("openai", "new"), vault.rekey):
        with pytest.raises(ConfigFault, match="cannot be written"):
            work()
        assert vault.get("openai") == "sk-first-canary"
    assert computer.everything() == {"openai": "sk-first-canary"}


# Moving and replacing the key


@pytest.mark.parametrize("before", HOMES)
@pytest.mark.parametrize("after", HOMES)
def test_the_key_moves_from_everywhere_to_everywhere(
    computer: Computer, before: Home, after: Home
) -> None:  # M-24
    vault = computer.protected(before)
    vault.change("@grant/a", lambda _: b"record")
    environ = {"PATINA_KEY": KEY, "PATINA_PASSPHRASE": PHRASE}
    if before == after:
        environ |= {"PATINA_KEY_NEW": NEW_KEY, "PATINA_PASSPHRASE_NEW": "another phrase"}
    computer.environ.update(environ)
    content = computer.file.read_bytes()
    old_key = computer.key.read_bytes() if before == "file" else b""
    mover = computer.vault()
    assert mover.rekey(after) == (after, [])
    assert computer.everything() == {"openai": "sk-first-canary"}
    assert computer.vault().read("@grant/a") == b"record"
    assert mover.get("openai") == vault.get("openai") == "sk-first-canary"
    assert computer.key.exists() == (after == "file")
    if old_key and after == "file":
        assert old_key.split()[1] not in computer.key.read_bytes()
    # The new key does not open what the old one did.
    if before == after:
        computer.environ.update(PATINA_KEY=NEW_KEY, PATINA_PASSPHRASE="another phrase")
        computer.environ.pop("PATINA_KEY_NEW"), computer.environ.pop("PATINA_PASSPHRASE_NEW")
        assert computer.everything() == {"openai": "sk-first-canary"}
        computer.file.write_bytes(content)
        with pytest.raises(ConfigFault):
            computer.vault(index=False).get("openai")


@pytest.mark.parametrize("home", ["file", "variable", "passphrase", None])
def test_a_home_can_be_chosen_before_anything_is_kept(
    computer: Computer, home: Home | None
) -> None:
    computer.environ.update({"PATINA_PASSPHRASE": PHRASE})
    if home == "variable":
        computer.environ.update({"PATINA_KEY": KEY})
    assert computer.vault().rekey(home)[0] == (home or "file")
    computer.vault().set("openai", "sk")
    assert computer.vault().home() == (home or "file")
    assert computer.everything() == {"openai": "sk"}


def test_the_first_key_is_that_of_the_variable_where_it_is_set(computer: Computer) -> None:
    computer.environ["PATINA_KEY"] = KEY.replace("+", "-").replace("/", "_").rstrip("=")
    computer.vault().set("openai", "sk")
    assert (computer.vault().home(), computer.key.exists()) == ("variable", False)
    computer.environ["PATINA_KEY"] = KEY
    assert computer.everything() == {"openai": "sk"}


@pytest.mark.parametrize("value", ["short", "*" * 44, KEY[:-4], KEY + KEY, "\u00e9" * 44])
def test_a_variable_that_is_no_key(computer: Computer, value: str) -> None:
    computer.environ["PATINA_KEY"] = value
    with pytest.raises(ConfigFault, match="PATINA_KEY is no key") as caught:
        computer.vault().set("openai", "sk")
    assert "openssl rand -base64 32" in caught.value.failure.hint
    assert value not in str(caught.value)
    assert not computer.file.exists()
    assert not computer.key.exists()


def test_a_new_key_of_ones_own_is_needed_to_replace_one(computer: Computer) -> None:
    vault = computer.protected("variable")
    with pytest.raises(UsageFault, match="PATINA_KEY_NEW is not set"):
        vault.rekey()
    computer.environ["PATINA_KEY_NEW"] = KEY
    with pytest.raises(UsageFault, match="is the same key as PATINA_KEY"):
        vault.rekey()
    assert computer.everything() == {"openai": "sk-first-canary"}


# Passphrases


def test_a_passphrase_is_asked_for_once(computer: Computer) -> None:
    computer.typed = [PHRASE, PHRASE]
    computer.vault().rekey("passphrase")
    assert computer.asked == ["New passphrase of the secrets", "The same once more"]
    computer.asked.clear()
    # The same letters as another keyboard writes them; two mistakes are forgiven.
    computer.typed = ["wrong", "wronger", PHRASE.replace("\u00e9", "e\u0301")]
    vault = computer.vault()
    vault.set("openai", "sk")
    vault.set("other", "x")
    computer.environ["PATINA_PASSPHRASE"] = PHRASE
    computer.vault().set("third", "written by another process")
    assert vault.get("third")
    assert len(computer.asked) == 3


def test_who_gives_no_passphrase_is_not_asked_again(computer: Computer) -> None:
    computer.protected("passphrase")
    del computer.environ["PATINA_PASSPHRASE"]
    vault = computer.vault()
    assert vault.names() == ["openai"]
    for _ in range(2):
        with pytest.raises(ConfigFault, match="their passphrase is needed") as caught:
            vault.get("openai")
        assert caught.value.failure.code == LOCKED
        assert "PATINA_PASSPHRASE" in caught.value.failure.hint
    assert len(computer.asked) == 1
    computer.typed = ["a", "b", "c", PHRASE]
    with pytest.raises(ConfigFault, match="passphrase is needed"):
        computer.vault().get("openai")
    assert computer.typed == [PHRASE]
    computer.environ["PATINA_PASSPHRASE"] = "not it"
    with pytest.raises(ConfigFault, match="PATINA_PASSPHRASE is not the passphrase"):
        computer.vault().get("openai")


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ([], "No passphrase was given."),
        (["short"], "under 8 characters"),
        (["long enough", "long enuogh"], "not the same"),
    ],
)
def test_passphrases_that_are_refused(computer: Computer, typed: list[str], message: str) -> None:
    computer.protected("file")
    computer.typed = typed
    with pytest.raises(UsageFault, match=message):
        computer.vault().rekey("passphrase")
    assert computer.vault().home() == "file"
    assert computer.everything() == {"openai": "sk-first-canary"}


def test_the_update_function_is_the_one_of_all_small_files(computer: Computer) -> None:
    """Locked, atomic and private: what that means is tested there."""
    paths: list[Path] = []

    def update(path: Path, change: object) -> None:
        paths.append(path)
        update_file(path, change)  # type: ignore[arg-type]

    computer.vault(update).set("openai", "sk")
    assert set(paths) == {computer.file, computer.key, computer.index}

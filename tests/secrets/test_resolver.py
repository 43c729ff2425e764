"""From references to secrets."""

import sys
from pathlib import Path

import pytest
from tests.unreadable import unreadable_file

from patina.config.files import update_file
from patina.model.faults import EXIT_PROVIDER, ConfigFault
from patina.secrets.environment import Resolver, read_keyfile
from patina.secrets.vault import key_file_vault


@pytest.fixture
def seen() -> list[str]:
    return []


@pytest.fixture
def resolver(tmp_path: Path, seen: list[str]) -> Resolver:
    kept = key_file_vault(tmp_path / "secrets.enc", tmp_path / "kept_key", update_file)
    kept.set("openai", "sk-kept")
    kept.set("NAME", "kept-name")
    kept.set("blank", "  ")
    environ = {"NAME": " from-env\n", "EMPTY": "", "openai": "trap"}
    return Resolver(environ, kept, seen.append)


@pytest.mark.parametrize(
    ("reference", "value"),
    [
        ("env:NAME", "from-env"),
        ("env:EMPTY", None),
        ("env:ABSENT", None),
        ("secret:openai", "sk-kept"),
        ("secret:NAME", "kept-name"),
        ("secret:blank", None),
        ("secret:absent", None),
        ("plain text", "plain text"),
        ("https://host:1/x", "https://host:1/x"),
        ("", None),
    ],
)
def test_references(resolver: Resolver, seen: list[str], reference: str, value: str | None) -> None:
    assert resolver.resolve(reference) == value
    assert seen == ([value] if value and reference.startswith(("env:", "secret:")) else [])


def test_names_of_variables_are_looked_up_in_the_environment_first(resolver: Resolver) -> None:
    assert resolver.get("NAME") == "from-env"
    assert resolver.get("openai") == "sk-kept"
    assert resolver.get("EMPTY") is None
    assert resolver.names() == ["NAME", "blank", "openai"]


def test_what_is_set_is_kept_and_masked(resolver: Resolver, seen: list[str]) -> None:
    resolver.set("new", "fresh-value")
    assert resolver.get("new") == "fresh-value"
    assert "fresh-value" in seen
    assert resolver.remove("new")


def test_a_withheld_key_says_why(resolver: Resolver) -> None:
    with pytest.raises(ConfigFault, match="withheld: X comes from /y") as caught:
        resolver.resolve("withheld:X comes from /y")
    assert caught.value.exit_code == EXIT_PROVIDER


def test_a_key_file_is_trimmed(resolver: Resolver, tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("  ghp_1 \n\n")
    assert resolver.resolve(f"keyfile:{file}") == "ghp_1"
    file.write_text(" \n")
    assert resolver.resolve(f"keyfile:{file}") is None


def test_a_key_file_in_the_home_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    (tmp_path / ".token").write_text("t")
    assert read_keyfile("~/.token") == "t"


def test_a_missing_key_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigFault, match=r"^KeyfileNotFound: ") as caught:
        read_keyfile(str(tmp_path / "absent"))
    assert caught.value.failure.code == "KeyfileNotFound"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such bits")
def test_an_unreadable_key_file() -> None:
    with (
        unreadable_file() as file,
        pytest.raises(ConfigFault, match=r"^PermissionDenied: ") as caught,
    ):
        read_keyfile(str(file))
    assert caught.value.failure.code == "PermissionDenied"


@pytest.mark.parametrize("content", [b"\xff\xfe", b"x" * 200_000])
def test_a_key_file_that_is_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "key").write_bytes(content)
    with pytest.raises(ConfigFault, match="key file"):
        read_keyfile(str(tmp_path / "key"))
    with pytest.raises(ConfigFault, match="cannot be read"):
        read_keyfile(str(tmp_path))

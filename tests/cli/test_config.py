"""`patina config`."""

import json
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cli.support import home, in_process, kept_secrets, patina

from patina.assembly.log import remove_log


@pytest.fixture(autouse=True)
def no_log() -> Iterator[None]:
    yield
    remove_log()


def write(text: str) -> Path:
    home().mkdir(parents=True, exist_ok=True)
    (home() / "config.toml").write_text(text)
    return home() / "config.toml"


def test_set_get_unset(capsys: pytest.CaptureFixture[str]) -> None:
    assert in_process("config", "set", "default_model", "openai/gpt-5.2") == 0
    assert in_process("config", "get", "default_model") == 0
    assert in_process("config", "unset", "default_model") == 0
    assert capsys.readouterr() == ("openai/gpt-5.2\n", "")
    assert in_process("config", "unset", "default_model") == 2
    assert "default_model is not set in config.toml." in capsys.readouterr().err


def test_every_value_has_its_source(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:  # P-12
    file = write("[chat]\nmax_tokens = 5\n")
    monkeypatch.setenv("OPENAI_API_KEY", "canary-canary")
    assert in_process("config", "get", "--json") == 0
    text = capsys.readouterr().out
    rows = {row.pop("key"): row for row in json.loads(text)}
    assert rows["chat.max_tokens"] == {"value": 5, "source": "file", "where": str(file)}
    assert rows["chat.timeout"] == {"value": 120.0, "source": "default", "where": ""}
    assert rows["providers.openai.api_key"] == {
        "value": "env:OPENAI_API_KEY",
        "source": "environment",
        "where": "OPENAI_API_KEY",
    }
    assert "canary" not in text


def test_a_part_of_the_settings(capsys: pytest.CaptureFixture[str]) -> None:
    assert in_process("config", "get", "chat") == 0
    assert "chat.max_tokens\t8192\tdefault\t\n" in capsys.readouterr().out
    assert in_process("config", "get", "chat.max_token") == 2
    assert "Did you mean chat.max_tokens?" in capsys.readouterr().err
    assert in_process("config", "get", "providers.lab.kind") == 2
    assert "providers.lab.kind is not set." in capsys.readouterr().err


def test_a_literal_key_moves_and_is_never_shown() -> None:
    file = write('[providers.openai]\nkind = "openai"\napi_key = "sk-canary" # mine\n')
    done = patina("config", "get", "providers.openai.api_key")
    assert done.stdout == "secret:openai\n"
    assert done.stderr == (
        "patina: The key at providers.openai.api_key was moved from config.toml to the secrets; "
        '"secret:openai" stands in its place.\n'
    )
    assert file.read_text().endswith('api_key = "secret:openai" # mine\n')
    again = patina("config", "get", "--json")
    assert again.stderr == ""
    assert "canary" not in again.stdout
    assert kept_secrets()["openai"] == "sk-canary"


def test_a_key_given_to_set_goes_to_the_secrets(capsys: pytest.CaptureFixture[str]) -> None:
    write('[providers.openai]\nkind = "openai"\n')
    assert in_process("config", "set", "providers.openai.api_key", "sk-canary") == 0
    assert "canary" not in capsys.readouterr().err
    assert "canary" not in (home() / "config.toml").read_text()
    assert in_process("config", "set", "providers.openai.api_key", "env:MY_KEY") == 0
    assert 'api_key = "env:MY_KEY"' in (home() / "config.toml").read_text()


def test_what_is_wrong_is_told_and_nothing_changes(capsys: pytest.CaptureFixture[str]) -> None:
    text = '# mine\n\n[providers.openai]\nkind = "opnai"\n'
    file = write(text)
    assert in_process("config", "get") == 2
    assert capsys.readouterr().err.startswith(
        'patina: config.toml line 4: providers.openai.kind is "opnai"; allowed: '
    )
    assert in_process("config", "get", "--json") == 2
    assert json.loads(capsys.readouterr().out)["error"]["kind"] == "config"
    assert in_process("config", "set", "default_model", "a/b") == 2
    assert file.read_text() == text


def test_an_unknown_key_is_told_and_kept(capsys: pytest.CaptureFixture[str]) -> None:  # P-12
    file = write("colour = 1 # later\n")
    assert in_process("config", "get", "log.level") == 0
    assert capsys.readouterr() == (
        "info\n",
        "patina: colour is not a setting and was ignored.\n",
    )
    assert in_process("config", "set", "log.level", "debug") == 0
    assert file.read_text() == 'colour = 1 # later\n\n[log]\nlevel = "debug"\n'


def test_path(capsys: pytest.CaptureFixture[str]) -> None:
    assert in_process("config", "path") == 0
    assert capsys.readouterr().out == f"{home() / 'config.toml'}\n"
    assert not home().exists()


@pytest.mark.skipif(sys.platform == "win32", reason="the editor is a shell script")
class TestEdit:
    """`patina config edit` with an editor that writes what the test says."""

    @pytest.fixture
    def editor(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        written = tmp_path / "written"
        script = tmp_path / "my editor"
        script.write_text(f'#!/bin/sh\n[ "$1" = --flag ] || exit 9\ncat "{written}" > "$2"\n')
        script.chmod(0o755)
        monkeypatch.setenv("EDITOR", f"'{script}' --flag")
        monkeypatch.delenv("VISUAL", raising=False)
        return written

    def test_a_good_edit(self, editor: Path) -> None:
        editor.write_text('default_model = "a/b"\n')
        assert patina("config", "edit").returncode == 0
        file = home() / "config.toml"
        assert file.read_text() == 'default_model = "a/b"\n'
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert not list(home().glob("*draft*"))

    def test_a_bad_edit_is_kept_aside(self, editor: Path) -> None:
        file = write('default_model = "a/b"\n')
        editor.write_text("default_model = 3\n")
        done = patina("config", "edit")
        assert done.returncode == 2
        assert "line 1: default_model is 3" in done.stderr
        assert file.read_text() == 'default_model = "a/b"\n'
        draft = home() / "config.draft.toml"
        assert str(draft) in done.stderr
        assert draft.read_text() == "default_model = 3\n"

    def test_an_editor_that_fails(self, editor: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        editor.write_text("")
        monkeypatch.setenv("VISUAL", "false")
        done = patina("config", "edit")
        assert done.returncode == 2
        assert 'The editor "false" ended with code 1; nothing was changed.' in done.stderr
        monkeypatch.setenv("VISUAL", "no-such-editor-here")
        assert "cannot be started" in patina("config", "edit").stderr

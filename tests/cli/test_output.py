"""What reaches a terminal, a pipe, a program."""

import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from patina.cli.output import fit, print_json, print_listing, text_width, use_color
from patina.views.terminal_text import safe_line, safe_text

ROWS: list[dict[str, Any]] = [
    {"name": "one\x1b[2J", "text": "a\tb\nc", "many": ["x", "y"], "on": True},
    {"name": "二", "text": "x" * 200, "many": [], "on": None},
]
COLUMNS = {"name": "NAME", "text": "TEXT", "many": "MANY", "on": "ON"}


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@contextmanager
def terminal() -> Iterator[Terminal]:
    stream = Terminal()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.stdout", stream)
        yield stream


def test_lines_for_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    print_listing(ROWS, COLUMNS, as_json=False)
    assert capsys.readouterr().out.splitlines() == [
        "one[2J\ta b c\tx, y\tyes",
        f"二\t{'x' * 200}\t\t",
    ]


def test_a_table_for_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    with terminal() as stream:
        print_listing(ROWS, COLUMNS, as_json=False)
    lines = stream.getvalue().splitlines()
    assert lines[0].split() == ["NAME", "TEXT", "MANY", "ON"]
    assert all(text_width(line) <= 80 for line in lines)
    assert "…" in lines[2]
    assert lines[1].index("a b c") == lines[0].index("TEXT")
    assert "\x1b" not in stream.getvalue()
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("TERM", "xterm")
    with terminal() as stream:
        print_listing(ROWS, COLUMNS, as_json=False)
    coloured = stream.getvalue().splitlines()
    assert coloured[0] == f"\x1b[1m{lines[0]}\x1b[0m"
    assert coloured[1:] == lines[1:]


def test_nothing_to_list(capsys: pytest.CaptureFixture[str]) -> None:
    print_listing([], COLUMNS, as_json=False, empty="None yet.")
    assert capsys.readouterr() == ("", "None yet.\n")
    print_listing([], COLUMNS, as_json=True, empty="None yet.")
    assert capsys.readouterr() == ("[]\n", "")


@given(st.text())
def test_json_changes_no_text_and_sends_no_control(text: str) -> None:
    text = text.encode("utf-8", "replace").decode()
    with terminal() as stream:
        print_json([{"text": text}])
    shown = stream.getvalue()
    assert json.loads(shown) == [{"text": text}]
    assert safe_text(shown) == shown


def test_json_for_a_program_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"a": [1, "\u202e\U000e0041\x9b"]})
    assert capsys.readouterr().out == '{"a":[1,"\\u202e\\udb40\\udc41\\u009b"]}\n'


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("plain\n\ttext", "plain\n\ttext"),
        ("\x1b]52;c;aGk=\x07", "]52;c;aGk="),
        ("\x1b[2J\r\x00\x08", "[2J"),
        ("a\x7fb\x9bc\x85d", "abcd"),
        ("\u202eevil\u2066\u200b\u200d\ufeff\u2060\u061c", "evil"),
        ("tag\U000e0041\U000e0100", "tag"),
        ("half \ud83d", "half "),
        ("Grüße, 世界 😀 ñ", "Grüße, 世界 😀 ñ"),
    ],
)
def test_the_sanitiser(text: str, safe: str) -> None:
    assert safe_text(text) == safe


@given(st.text(), st.text())
def test_pieces_may_be_cleaned_one_by_one(first: str, second: str) -> None:
    assert safe_text(first) + safe_text(second) == safe_text(first + second)
    assert safe_text(first).isascii() is not True or "\x1b" not in safe_text(first)


def test_a_line_is_one_line() -> None:
    assert safe_line(" a\n\tb\x1b  c ") == "a b c"


@given(st.text(max_size=30), st.integers(1, 20))
def test_what_is_cut_fits(text: str, width: int) -> None:
    assert text_width(fit(safe_line(text), width)) <= width


def test_colour_is_for_terminals_that_want_it() -> None:
    assert use_color({}, Terminal())
    assert not use_color({"NO_COLOR": "1"}, Terminal())
    assert not use_color({"TERM": "dumb"}, Terminal())
    assert not use_color({}, io.StringIO())

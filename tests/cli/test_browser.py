"""What a browser is handed, by whom, and what it cannot get."""

import os
import stat
import sys
import time
from pathlib import Path

import pytest

from patina.assembly.browser import OPEN_SECONDS, open_page
from patina.model.pages import page_of

pytestmark = pytest.mark.skipif(os.name != "posix", reason="Windows hands pages to what it knows")
PAGE = page_of("https://pages.example/a?b=c&d=$(x);e*#f")


class Programs:
    """Programs that write down how they were started."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.notes = folder / "notes"

    def add(self, name: str, then: str = "exit 0") -> Path:
        program = self.folder / name
        program.write_text(
            '#!/bin/sh\n{ for word in "$@"; do printf "%s\\n" "$word"; done; echo "--$0"; }'
            f' >> "{self.notes}"\nenv > "{self.notes}.env"\n{then}\n'
        )
        program.chmod(stat.S_IRWXU)
        return program

    @property
    def started(self) -> list[list[str]]:
        """The words of each start, the program's name last."""
        if not self.notes.exists():
            return []
        starts: list[list[str]] = []
        words: list[str] = []
        for line in self.notes.read_text("utf-8").splitlines():
            if line.startswith("--/"):
                starts.append([*words, Path(line).name])
                words = []
            else:
                words.append(line)
        return starts

    def environ(self, **more: str) -> dict[str, str]:
        return {"PATH": f"{self.folder}{os.pathsep}/usr/bin{os.pathsep}/bin", **more}


@pytest.fixture
def programs(tmp_path: Path) -> Programs:
    folder = tmp_path / "a folder"
    folder.mkdir()
    return Programs(folder)


def test_the_address_is_one_word(programs: Programs) -> None:
    programs.add("browse")
    assert open_page(PAGE, programs.environ(BROWSER="browse"))
    assert open_page(PAGE, programs.environ(BROWSER="browse -p %s --last"))
    assert open_page(PAGE, programs.environ(BROWSER="browse --url=%s"))
    assert open_page(PAGE, programs.environ(BROWSER=f"'{programs.folder}/browse' 'two words'"))
    assert programs.started == [
        [PAGE.url, "browse"],
        ["-p", PAGE.url, "--last", "browse"],
        [f"--url={PAGE.url}", "browse"],
        ["two words", PAGE.url, "browse"],
    ]


def test_one_program_after_the_other_is_tried(programs: Programs) -> None:
    programs.add("broken", "exit 3")
    programs.add("browse")
    programs.add("unused")
    assert open_page(PAGE, programs.environ(BROWSER="gone:broken:'odd:browse:unused"))
    assert [words[-1] for words in programs.started] == ["broken", "browse"]
    assert not open_page(PAGE, programs.environ(BROWSER="gone:broken"))


@pytest.mark.parametrize("how", ['sh -c "browse %s"', "sh -c 'browse \"%s\"'", "env sh -c 'x %s'"])
def test_no_shell_gets_the_address(programs: Programs, how: str) -> None:
    programs.add("browse")
    assert not open_page(PAGE, programs.environ(BROWSER=how))
    assert programs.started == []


def test_without_a_browser_of_the_user_the_desktop_has_one(programs: Programs) -> None:
    if sys.platform == "darwin":
        pytest.skip("it would open")
    programs.add("xdg-open", "exit 4")
    programs.add("gio")
    environ = {"PATH": str(programs.folder), "DISPLAY": ":0"}
    assert open_page(PAGE, environ)
    assert programs.started == [[PAGE.url, "xdg-open"], ["open", PAGE.url, "gio"]]
    assert not open_page(PAGE, {**environ, "SSH_TTY": "/dev/pts/1"})
    assert not open_page(PAGE, {"PATH": str(programs.folder)})
    assert len(programs.started) == 2


def test_it_gets_nothing_of_ours(programs: Programs) -> None:
    programs.add("browse")
    environ = programs.environ(BROWSER="browse", PATINA_KEY="canary", PATINA_HOME="x", LANG="C")
    assert open_page(PAGE, environ)
    names = {line.partition("=")[0] for line in Path(f"{programs.notes}.env").read_text().split()}
    assert "LANG" in names
    assert not names & {"PATINA_KEY", "PATINA_HOME", "BROWSER"}


def test_it_says_nothing_at_our_terminal(
    programs: Programs, capfd: pytest.CaptureFixture[str]
) -> None:
    programs.add("browse", "echo said; echo complained >&2; cat")
    assert open_page(PAGE, programs.environ(BROWSER="browse"))
    assert capfd.readouterr() == ("", "")


def test_one_that_stays_is_not_waited_for(programs: Programs) -> None:
    ended = programs.folder / "end"
    programs.add("browse", f'while [ ! -e "{ended}" ]; do sleep 0.1; done')
    before = time.monotonic()
    try:
        assert open_page(PAGE, programs.environ(BROWSER="browse"))
        assert time.monotonic() - before < OPEN_SECONDS + 5
    finally:
        ended.touch()
    programs.add("quick")
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        assert open_page(PAGE, programs.environ(BROWSER="quick"))
        from patina.assembly import browser

        if not browser._staying:  # its end was noticed: no zombie is left
            break
    assert not browser._staying

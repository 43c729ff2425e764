"""The one place that hands pages to a browser.

`webbrowser` of the standard library is not used: it passed addresses on as options (CVE-2026-4519),
and what it starts keeps our terminal. No shell ever reads an address here.
"""

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Final

from patina.model.pages import Page

if TYPE_CHECKING:
    import subprocess

# How long a program may take to say that it cannot. Many stay for as long as the browser does.
OPEN_SECONDS: Final = 5.0
_PROGRAMS: Final = (("xdg-open",), ("gio", "open"), ("x-www-browser",), ("wslview",))
# Those that stayed: each is asked for its end when the next page is opened.
_staying: Final[list["subprocess.Popen[bytes]"]] = []


def has_browser(environ: Mapping[str, str]) -> bool:
    """Whether a browser can show a page to the person at the terminal.

    Over SSH it would open on another machine, unless `BROWSER` names what brings it here.
    """
    if environ.get("BROWSER") and sys.platform != "win32":
        return True
    if environ.get("SSH_CONNECTION") or environ.get("SSH_TTY"):
        return False
    return sys.platform in ("darwin", "win32") or bool(
        environ.get("DISPLAY") or environ.get("WAYLAND_DISPLAY")
    )


def open_page(page: Page, environ: Mapping[str, str]) -> bool:
    """Hand `page`, of `page_of`, to a browser; whether one took it.

    `environ` is that of the process. Takes `OPEN_SECONDS` for each program at most: call it from a
    worker thread. `BROWSER` holds programs to try in turn, with `%s` where the address is to be.
    """
    if not has_browser(environ):
        return False
    if sys.platform == "win32":
        return _handed_over(page.url)
    return any(_took(command, environ) for command in _commands(page.url, environ))


def _handed_over(url: str) -> bool:
    """Windows: what is registered for its scheme, http or https, gets the address."""
    start: Callable[[str], None] = getattr(os, "startfile")  # noqa: B009 - only Windows has it
    try:
        start(url)
    except OSError:
        return False
    return True


def _commands(url: str, environ: Mapping[str, str]) -> Iterator[list[str]]:
    import shlex
    import shutil

    path = environ.get("PATH")
    for entry in environ.get("BROWSER", "").split(os.pathsep):
        try:
            words = shlex.split(entry)
        except ValueError:
            continue  # a quote that does not end
        if not words or (program := shutil.which(words[0], path=path)) is None:
            continue
        if any("%s" in word and len(word.split()) > 1 for word in words):
            continue  # such as `sh -c "browse %s"`: a shell would read the address
        arguments = [word.replace("%s", url) for word in words[1:]]
        yield [program, *arguments] if arguments != words[1:] else [program, *arguments, url]
    if sys.platform == "darwin":
        yield ["/usr/bin/open", url]
    elif environ.get("DISPLAY") or environ.get("WAYLAND_DISPLAY"):
        for name, *words in _PROGRAMS:
            if (program := shutil.which(name, path=path)) is not None:
                yield [program, *words, url]


def _took(command: list[str], environ: Mapping[str, str]) -> bool:
    """Start `command` apart from us, with nothing of ours; whether it did not fail at once."""
    import subprocess

    _staying[:] = [process for process in _staying if process.poll() is None]
    # `BROWSER` was read here; xdg-open would split it in its own way, with the address in it.
    kept = {
        name: value
        for name, value in environ.items()
        if name != "BROWSER" and not name.startswith("PATINA_")
    }
    try:
        process = subprocess.Popen(  # noqa: S603 - a program of the user's or the desktop's
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            env=kept,
        )
    except OSError:
        return False
    try:
        return process.wait(OPEN_SECONDS) == 0
    except subprocess.TimeoutExpired:
        _staying.append(process)
        return True

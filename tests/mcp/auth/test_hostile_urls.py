"""Pages that nobody may be sent to never reach what opens pages (CVE-2025-6514 and its kind).

Over the real ways: the metadata of an authorization server, and a server's question, each up to a
program in `BROWSER` that writes down what it is started with.
"""

import json
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import anyio
import httpx2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.cli.support import patina
from tests.cli.terminal import terminal
from tests.mcp.auth.desk import SERVER, House, house_at
from tests.mcp.auth.hostile_urls import HARMLESS, HOSTILE, INSIDE
from tests.mcp.auth.opener import Opener

from patina.assembly.browser import open_page
from patina.cli.signing_in import TerminalVisitor
from patina.model.faults import UsageFault
from patina.model.pages import Page, page_of, web_address

posix = pytest.mark.skipif(os.name != "posix", reason="the program that notes is of the shell")
SERVER_FILE = Path(__file__).with_name("page_server.py")


class Person(TerminalVisitor):
    """Somebody at the terminal. `came` is set when the page is open."""

    def __init__(self, name: str, environ: dict[str, str], seconds: float) -> None:
        super().__init__(name, environ, seconds)
        self.came = anyio.Event()

    async def visit(self, page: Page) -> bool:
        agreed = await super().visit(page)
        self.came.set()
        return agreed


@pytest.fixture
def opener(tmp_path: Path) -> Opener:
    folder = tmp_path / "programs"
    folder.mkdir()
    return Opener(folder)


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    folder = tmp_path / "house"
    folder.mkdir()
    async with house_at(folder) as house:
        yield house


def test_there_are_enough_of_them() -> None:
    assert len(set(HOSTILE)) >= 60


@pytest.mark.parametrize("url", HOSTILE)
def test_none_is_a_page(url: str) -> None:
    with pytest.raises(UsageFault, match=r"^The page was not opened: its address "):
        page_of(url)


def test_no_host_is_a_number_in_disguise() -> None:
    """A page may be in the user's own network; then its host is shown as what it is."""
    for url in INSIDE:
        try:
            page = page_of(url)
        except UsageFault:
            continue
        assert f"https://{page.host}/" in url or f"https://[{page.host}]/" in page.url


@posix
@pytest.mark.anyio
async def test_none_is_opened_for_a_sign_in(house: House, opener: Opener) -> None:
    desk = house.desk()
    settings = house.settings(timeout=5.0)
    for url in HOSTILE:
        house.server.metadata = {"authorization_endpoint": url}
        visitor = TerminalVisitor(SERVER, opener.environ, 5.0)
        end = await desk.sign_ins.sign_in(SERVER, settings, visitor)
        assert end.state == "error", url
        assert end.step in ("discovery", "registration", "authorization"), (url, end)
        assert end.url == ""
    assert opener.opened == []
    # What is opened is what was checked, as one word.
    house.server.metadata = {"authorization_endpoint": f"{house.server.url}/authorize?a=$(b);|c'd"}
    person = Person(SERVER, opener.environ, 5.0)
    with anyio.fail_after(30):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(desk.sign_ins.sign_in, SERVER, settings, person)
            await person.came.wait()
            desk.sign_ins.cancel(SERVER)
    assert opener.opened[0] == "1"
    assert opener.opened[1].startswith(f"{house.server.url}/authorize?a=$(b);%7Cc%27d&")


@posix
def test_none_is_opened_for_a_servers_question(opener: Opener, tmp_path: Path) -> None:
    urls = [url for url in HOSTILE if "\ud800" not in url]
    file = tmp_path / "urls.json"
    file.write_text(json.dumps([*urls, "https://good.example/x?a=$(b);c"]))
    added = patina("mcp", "add", "pages", "--", sys.executable, str(SERVER_FILE), str(file))
    assert added.returncode == 0, added.stderr
    call = ("mcp", "call", "--approve", "all", "pages", "pages")
    at_once = 20  # more are declined whatever they are
    for first in range(0, len(urls), at_once):
        count = min(at_once, len(urls) - first)
        words = (*call, f"from={first}", f"count={count}")
        with terminal(*words, variables=opener.environ) as screen:
            # Where one was shown this would wait for an answer, and fail.
            screen.see("done " + "decline " * count + ".")
            assert screen.end() == 0
            assert "Open it in a browser?" not in screen.shown
            assert "\u202e" not in screen.shown
    assert opener.opened == []
    with terminal(*call, f"from={len(urls)}", "count=1", variables=opener.environ) as screen:
        screen.see("host  good.example")
        screen.see("[C] Cancel")
        screen.type("y\n")
        screen.see("done accept .")
        assert screen.end() == 0
    assert opener.opened == ["1", "https://good.example/x?a=$(b);c"]


@posix
@pytest.mark.parametrize("url", HARMLESS)
def test_what_is_only_odd_is_opened_without_what_is_odd(url: str, opener: Opener) -> None:
    assert open_page(page_of(url), opener.environ)
    assert opener.opened == ["1", "https://good.example/%7Ccalc"]


# Signs that parsers disagree about, among others.
PIECES = st.sampled_from(
    [
        *(
            "http",
            "https",
            "HTTPS",
            ":",
            "/",
            "//",
            "\\",
            "@",
            "?",
            "#",
            "%",
            "%2f",
            "%00",
            ".",
            "-",
        ),
        *("_", "[", "]", "::1", "127.0.0.1", "0x7f", "1", "443", "a", "good.example", "localhost"),
        *("\u00e9", "\u3002", "\u2460", "\uff41", "\u00df", "\u200d", "\u0131", "xn--", "\t", " "),
        *("&", "=", "+", "'", '"', ";", "|", "$", "(", ")", "~", "*", ",", "!", "\u5b57", "\u0301"),
    ]
)
ADDRESSES = st.one_of(
    st.lists(PIECES, max_size=12).map("".join),
    st.lists(PIECES, max_size=8).map(lambda pieces: "https://" + "".join(pieces)),
    st.lists(PIECES, max_size=6).map(lambda pieces: "https://good.example" + "".join(pieces)),
    st.text(max_size=20).map(lambda text: f"https://{text}"),
)


@settings(max_examples=2000, deadline=None)
@given(ADDRESSES)
def test_what_is_a_page_is_the_same_to_every_parser(url: str) -> None:
    try:
        page, address = page_of(url), web_address(url)
    except UsageFault:
        return
    assert page_of(page.url) == page
    assert page.url.isascii()
    assert not set(page.url) & set(" \t\r\n\"'<>\\`^{|}")
    for read in (page.url, address.url):
        parts = urlsplit(read)
        assert (parts.scheme, parts.hostname, parts.username) == (address.scheme, page.host, None)
        assert (parts.port or {"http": 80, "https": 443}[parts.scheme]) == address.port
    try:
        other = httpx2.URL(address.url)
    except httpx2.InvalidURL:
        return  # nothing connects then
    assert other.raw_host.decode() == page.host
    assert (other.scheme, other.userinfo) == (address.scheme, b"")

"""`patina mcp login`, `logout` and `token`: the real command, and a browser of the tests' own."""

import json
import re
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest
from tests.cli.model_server import model_server
from tests.cli.sign_in_server import SignInServer, sign_in_server
from tests.cli.support import home, in_process, patina
from tests.cli.terminal import CTRL_C, terminal
from tests.cli.test_mcp import CANARY, DEMO, GIVEN, odd

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="BROWSER is not asked there")
SSH = {"SSH_CONNECTION": "10.0.0.1 50000 10.0.0.2 22", "BROWSER": ""}
NOBODY = {"BROWSER": "", "DISPLAY": "", "WAYLAND_DISPLAY": ""}
PROMPT = "Paste the address"
_PAGE = re.compile(r"^(http://127\.0\.0\.1:\d+/authorize\?\S+)", re.MULTILINE)
_BROWSER = """\
#!{python}
import sys, urllib.request, pathlib
pathlib.Path(__file__).with_name("opened").open("a").write(sys.argv[1] + "\\n")
urllib.request.urlopen(sys.argv[1], timeout=30).read()
"""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[SignInServer]:
    for name in ("SSH_CONNECTION", "SSH_TTY", "DISPLAY", "WAYLAND_DISPLAY", "BROWSER"):
        monkeypatch.delenv(name, raising=False)
    with sign_in_server() as running:
        yield running


@pytest.fixture
def browser(tmp_path: Path) -> dict[str, str]:
    """Follows the page and its redirect, as a browser in which somebody says yes at once."""
    script = tmp_path / "browser"
    script.write_text(_BROWSER.format(python=sys.executable))
    script.chmod(0o755)
    return {"BROWSER": str(script)}


@pytest.fixture
def far(server: SignInServer) -> SignInServer:
    """The server is configured as "far"."""
    assert in_process("mcp", "add", "far", "--url", f"{server.url}/mcp") == 0
    return server


def opened(browser: dict[str, str]) -> list[str]:
    """The pages that the browser was given."""
    path = Path(browser["BROWSER"]).with_name("opened")
    return path.read_text().splitlines() if path.exists() else []


def follow(url: str) -> str:
    """Go to the page and say what it does; the address that it ends at, which is not visited."""
    found: str = subprocess.run(
        [sys.executable, "-c", _FOLLOW, url], capture_output=True, text=True, check=True, timeout=60
    ).stdout.strip()
    return found


_FOLLOW = """\
import http.client, sys, urllib.parse
parts = urllib.parse.urlsplit(sys.argv[1])
link = http.client.HTTPConnection(parts.netloc, timeout=30)
link.request("GET", f"{parts.path}?{parts.query}")
print(link.getresponse().headers["Location"])
"""


def page_in(text: str) -> str:
    found = _PAGE.search(text.replace("\r", ""))
    assert found, text
    return found[1]


def listed(server: str = "far") -> dict[str, object]:
    rows: list[dict[str, object]] = json.loads(patina("mcp", "list", "--json").stdout)
    return next(row for row in rows if row["server"] == server)


def sign_in(browser: dict[str, str]) -> None:
    done = patina("mcp", "login", "far", variables=browser)
    assert done.returncode == 0, done.stderr


def test_sign_in_once(far: SignInServer, browser: dict[str, str]) -> None:
    done = patina("mcp", "login", "far", variables=browser)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "Connected as @acoliver\nfar: 3 tools\n"
    assert "sign in at 127.0.0.1" in done.stderr
    assert "Waiting for authorization..." in done.stderr
    assert opened(browser) == [page_in(done.stderr)]
    assert "at-0" not in done.stdout + done.stderr
    used = patina("mcp", "tools", "far", "--refresh")
    assert used.returncode == 0, used.stderr
    assert far.count("/authorize") == 1
    row = listed()
    assert (row["sign_in"], row["account"]) == ("connected", "@acoliver")
    assert "signed in as @acoliver" in patina("mcp", "list").stdout
    assert "signed in as @acoliver" in patina("mcp", "test", "far").stdout


def test_tokens_are_in_no_file_as_they_are(far: SignInServer, browser: dict[str, str]) -> None:
    sign_in(browser)
    for token in far.live:
        for path in home().rglob("*"):
            assert not path.is_file() or token.encode() not in path.read_bytes(), path


def test_sign_in_again_as_somebody_else(far: SignInServer, browser: dict[str, str]) -> None:
    sign_in(browser)
    far.account = "other"
    done = patina("mcp", "login", "far", "--json", variables=browser)
    assert done.returncode == 0, done.stderr
    shown = json.loads(done.stdout)
    assert shown["text"] == "Connected as @other"
    assert {"server": "far", "state": "connected", "account": "@other", "tools": 3}.items() <= (
        shown.items()
    )
    assert far.count("/register") == 1


def test_the_person_says_no(far: SignInServer, browser: dict[str, str]) -> None:
    far.mood = "deny"
    done = patina("mcp", "login", "far", variables=browser)
    assert done.returncode == 3
    assert done.stderr.count("patina: Error: Authorization denied\n") == 1
    as_json = patina("mcp", "login", "far", "--json", variables=browser)
    assert as_json.returncode == 3
    error = json.loads(as_json.stdout)["error"]
    assert (error["kind"], error["message"]) == ("auth", "Error: Authorization denied")
    far.mood = "allow"
    sign_in(browser)


def test_nobody_does_anything(far: SignInServer, browser: dict[str, str]) -> None:
    far.mood = "silent"
    began = time.monotonic()
    done = patina("mcp", "login", "far", "--timeout", "2", variables=browser)
    assert done.returncode == 3
    assert "patina: Authorization timed out after 2 seconds\n" in done.stderr
    assert time.monotonic() - began < 30
    as_json = patina("mcp", "login", "far", "--timeout", "1", "--json", variables=browser)
    assert json.loads(as_json.stdout)["error"]["kind"] == "timeout"


def test_the_step_that_fails_is_named(far: SignInServer, browser: dict[str, str]) -> None:
    far.mood = "broken"
    done = patina("mcp", "login", "far", variables=browser)
    assert done.returncode == 3
    assert "patina: Error: exchanging the code: " in done.stderr


def test_the_address_is_pasted_over_ssh(far: SignInServer) -> None:
    with terminal("mcp", "login", "far", variables=SSH) as screen:
        address = follow(page_in(screen.see(PROMPT)))
        screen.type("http://127.0.0.1/something-else\n")
        screen.see("That is not it")
        screen.see(PROMPT)
        screen.type("http://127.0.0.1:9/oauth/callback?code=c&state=of-another\n")
        screen.see("not of this sign-in")
        screen.see(PROMPT)
        screen.type(f"{address}\n")
        screen.see("Connected as @acoliver")
        screen.see("far: 3 tools")
        assert screen.end() == 0


def test_the_browser_comes_back_while_a_paste_is_waited_for(far: SignInServer) -> None:
    """As over a forwarded port."""
    with terminal("mcp", "login", "far", "--no-browser", variables=SSH) as screen:
        with urlopen(page_in(screen.see(PROMPT)), timeout=60) as answer:
            assert answer.status == 200
        screen.see("Connected as @acoliver")
        assert screen.end() == 0


def test_the_address_is_piped_in(far: SignInServer) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "patina", "mcp", "login", "far", "--no-browser"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )
    assert process.stdin is not None
    assert process.stderr is not None
    lines = ""
    while "/authorize?" not in lines:
        line = process.stderr.readline()
        assert line, lines
        lines += line
    process.stdin.write(f"\n{follow(page_in(lines))}\n")
    process.stdin.close()
    process.stdin = None
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert out == "Connected as @acoliver\nfar: 3 tools\n"


def test_where_nobody_is_there_nothing_waits(far: SignInServer) -> None:
    began = time.monotonic()
    done = patina("mcp", "login", "far", variables=NOBODY)
    assert done.returncode == 4
    assert "Nobody is here to sign in to far." in done.stderr
    assert "patina mcp login far --no-browser" in done.stderr
    assert time.monotonic() - began < 30


def test_ctrl_c_ends_it(far: SignInServer, browser: dict[str, str]) -> None:
    far.mood = "silent"
    with terminal("mcp", "login", "far", variables=browser) as screen:
        screen.see("Ctrl+C ends that")
        screen.press_until(CTRL_C, "cancelled")
        assert screen.end() == 130
    assert listed()["sign_in"] != "connected"
    far.mood = "allow"
    sign_in(browser)


def test_ctrl_c_at_the_prompt_ends_it_too(far: SignInServer) -> None:
    with terminal("mcp", "login", "far", variables=SSH) as screen:
        screen.see(PROMPT)
        screen.press_until(CTRL_C, "cancelled")
        assert screen.end() == 130
    assert far.live == set()


def test_sign_out(far: SignInServer, browser: dict[str, str]) -> None:
    sign_in(browser)
    done = patina("mcp", "logout", "far")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "Signed out of far.\n"
    assert not done.stderr
    assert far.live == set()
    assert far.forgotten == ["1"]
    assert listed()["sign_in"] != "connected"
    again = patina("mcp", "logout", "far")
    assert again.returncode == 0
    assert "Nobody is signed in to far." in again.stderr
    refused = patina("mcp", "tools", "far", "--refresh")
    assert refused.returncode == 4
    assert "patina mcp login far" in refused.stderr
    for command in (("test", "far"), ("doctor", "far")):  # an answer is needed, and nobody is there
        refused = patina("mcp", *command)
        assert refused.returncode == 4, refused.stdout
        assert "patina mcp login far" in refused.stdout


def test_sign_out_and_stay_registered(far: SignInServer, browser: dict[str, str]) -> None:
    sign_in(browser)
    assert patina("mcp", "logout", "far", "--keep-client").returncode == 0
    assert far.live == set()
    assert far.forgotten == []
    assert listed()["sign_in"] != "connected"
    sign_in(browser)
    assert far.count("/register") == 1


def test_sign_out_of_what_cannot_be_reached(far: SignInServer, browser: dict[str, str]) -> None:
    sign_in(browser)
    far.shutdown()
    far.server_close()
    done = patina("mcp", "logout", "far")
    assert done.returncode == 0
    assert "Signed out of far." in done.stdout
    assert done.stderr
    assert listed()["sign_in"] != "connected"


def test_remove_signs_out(far: SignInServer, browser: dict[str, str]) -> None:
    sign_in(browser)
    done = patina("mcp", "remove", "far", "--yes")
    assert done.returncode == 0, done.stderr
    assert far.live == set()
    assert in_process("mcp", "add", "far", "--url", f"{far.url}/mcp") == 0
    assert listed()["sign_in"] != "connected"


def test_a_server_that_lets_everybody_in(far: SignInServer, browser: dict[str, str]) -> None:
    far.open = True
    done = patina("mcp", "login", "far", variables=browser)
    assert done.returncode == 0, done.stderr
    assert "far lets you in without a sign-in." in done.stderr
    assert done.stdout == "far: 3 tools\n"
    assert opened(browser) == []


def test_a_machine_signs_in_as_itself(far: SignInServer) -> None:
    given = ("--auth-mode", "client_credentials", "--client-id", "ci", "--client-secret", "-")
    assert patina("mcp", "edit", "far", *given, stdin="ci-secret-0123").returncode == 0
    done = patina("mcp", "login", "far", variables=NOBODY)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "Connected\nfar: 3 tools\n"
    assert far.count("/authorize") == 0


def test_a_local_server_is_started_with_the_token(
    server: SignInServer, browser: dict[str, str]
) -> None:
    given = ("--client-id", "local-1", "--oauth-variable", "FAR_TOKEN", "--scope", "tools")
    assert in_process("mcp", "add", *given, "mine", "--", *odd("env")) == 0
    assert patina("config", "set", "mcp_servers.mine.oauth.issuer", server.url).returncode == 0
    refused = patina("mcp", "tools", "mine", "--refresh")
    assert refused.returncode == 4
    assert "patina mcp login mine" in refused.stderr
    done = patina("mcp", "login", "mine", variables=browser)
    assert done.returncode == 0, done.stderr
    called = patina("mcp", "call", "mine", "echo", "--approve", "all")
    assert called.returncode == 0, called.stderr
    assert json.loads(called.stdout)["FAR_TOKEN"] == GIVEN
    assert listed("mine")["sign_in"] == "connected"


def test_a_conversation_without_anybody_begins_no_sign_in(
    far: SignInServer, browser: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    sign_in(browser)
    assert patina("mcp", "logout", "far").returncode == 0
    with model_server() as model:
        monkeypatch.setenv("OPENAI_API_KEY", CANARY)
        monkeypatch.setenv("OPENAI_BASE_URL", model.url)
        before, pages = len(far.asked), len(opened(browser))
        for style in ("--json", "--no-stream"):
            done = patina(
                *("ask", style, "-m", "openai/one", "--approve", "all", "call far__one {}"),
                variables=browser,
            )
            assert "wants you to sign in" in done.stdout + done.stderr
        called = patina("mcp", "call", "far", "one", "--approve", "all", variables=browser)
        assert called.returncode == 4
        assert "patina mcp login far" in called.stderr
    assert set(far.asked[before:]) == {"/mcp"}
    assert len(opened(browser)) == pages


def test_an_unknown_server_and_one_that_is_started_here() -> None:
    assert patina("mcp", "login", "nobody").returncode == 2
    assert in_process("mcp", "add", "mine", "--", *DEMO) == 0
    done = patina("mcp", "login", "mine")
    assert done.returncode == 0, done.stderr
    assert "mine needs no sign-in: it is started here" in done.stderr


def test_in_a_chat(far: SignInServer, browser: dict[str, str]) -> None:
    with terminal("chat", variables=browser) as screen:
        screen.see("> ")
        # It is connected in the background, and refuses that.
        screen.press_until("/mcp\n", "**far**: enabled, sign in needed: /mcp login far")
        assert "last error" not in screen.shown
        screen.type("/mcp logi\t")
        screen.see("n ")
        screen.type("f\t")
        screen.see("ar ")
        screen.type("\n")
        screen.see("Waiting for authorization...")
        screen.see("far: signed in as @acoliver, and connected.")
        screen.type("/mcp\n")
        screen.see("signed in as @acoliver")
        screen.type("/mcp logout far\n")
        screen.see("Signed out of far.")
        screen.type("/quit\n")
        assert screen.end() == 0
    assert far.live == set()


def test_a_call_that_wants_a_sign_in_asks_for_it(
    far: SignInServer, browser: dict[str, str]
) -> None:
    with terminal("mcp", "call", "far", "one", "--approve", "all", variables=browser) as screen:
        screen.see("Server far wants you to sign in. Sign in now? [y/N]")
        screen.type("y\n")
        screen.see("Waiting for authorization...")
        screen.see("done")
        assert screen.end() == 0
    with terminal("mcp", "tools", "far", "--refresh", variables=browser) as screen:
        screen.see("far.one")
        assert screen.end() == 0
    assert len(opened(browser)) == 1


def test_a_call_without_a_person_names_the_command(far: SignInServer) -> None:
    done = patina("mcp", "call", "far", "one", "--approve", "all")
    assert done.returncode == 4
    assert "Server far wants you to sign in." in done.stderr
    assert "Run `patina mcp login far`." in done.stderr


def test_a_question_says_which_server_wants_a_sign_in(far: SignInServer) -> None:
    done = patina("ask", "-m", "demo/demo", "--mcp", "far", "hello")
    assert done.returncode == 0, done.stderr
    left_out = "Left out the MCP server far: Server far wants you to sign in."
    assert f"{left_out} Run `patina mcp login far`." in done.stderr
    assert far.count("/authorize") == 0


# Fixed keys


def config() -> dict[str, dict[str, object]]:
    text = (home() / "config.toml").read_text("utf-8")
    servers: dict[str, dict[str, object]] = tomllib.loads(text)["mcp_servers"]
    return servers


def test_a_token_is_piped_in(far: SignInServer) -> None:  # C-10
    far.live.add(CANARY)
    done = patina("mcp", "token", "far", stdin=f"{CANARY}\n")
    assert done.returncode == 0, done.stderr
    assert config()["far"]["headers"] == {"Authorization": "Bearer secret:far/Authorization"}
    assert config()["far"]["auth_mode"] == "bearer"
    assert CANARY not in done.stdout + done.stderr + str(config())
    assert patina("mcp", "tools", "far", "--refresh").returncode == 0
    login = patina("mcp", "login", "far")
    assert login.returncode == 0
    assert "the key of its header Authorization is used" in login.stderr
    gone = patina("mcp", "token", "far", "--remove")
    assert gone.returncode == 0, gone.stderr
    assert not {"headers", "auth_mode"} & config()["far"].keys()
    assert "far/" not in patina("keys", "list").stdout
    assert patina("mcp", "token", "far", "--remove").returncode == 2


def test_a_token_is_typed_unseen(far: SignInServer) -> None:
    with terminal("mcp", "token", "far", "--header", "X-Api-Key") as screen:
        screen.see("Token of far for X-Api-Key")
        screen.type(f"{CANARY}\n")
        screen.see("kept as secret:far/X-Api-Key")
        assert screen.end() == 0
        assert CANARY not in screen.shown
    assert config()["far"]["headers"] == {"X-Api-Key": "secret:far/X-Api-Key"}


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ("Bearer abcdefgh", "Bearer secret:far/Authorization"),
        ("Basic abcdefgh", "Basic secret:far/Authorization"),
        ("abcdefgh", "Bearer secret:far/Authorization"),
    ],
)
def test_a_word_before_the_token_is_taken_for_its_scheme(
    typed: str, kept: str, far: SignInServer
) -> None:
    assert patina("mcp", "token", "far", stdin=typed).returncode == 0
    assert config()["far"]["headers"] == {"Authorization": kept}


@pytest.mark.parametrize("typed", ["", "two words\nof it", "a\x00b", "nö"])
def test_what_is_no_token(typed: str, far: SignInServer) -> None:
    done = patina("mcp", "token", "far", stdin=typed)
    assert done.returncode == 2
    assert "headers" not in config()["far"]
    assert "far/" not in patina("keys", "list").stdout


def test_a_token_of_a_local_server_goes_to_a_variable() -> None:
    assert in_process("mcp", "add", "mine", "--", *DEMO) == 0
    assert patina("mcp", "token", "mine", stdin=CANARY).returncode == 2
    assert patina("mcp", "token", "mine", "--header", "X", stdin=CANARY).returncode == 2
    done = patina("mcp", "token", "mine", "--variable", "MINE_TOKEN", stdin=CANARY)
    assert done.returncode == 0, done.stderr
    assert config()["mine"]["env"] == {"MINE_TOKEN": "secret:mine/MINE_TOKEN"}
    again = patina("mcp", "token", "mine", stdin="another-0123")
    assert again.returncode == 0, again.stderr
    tried = patina("mcp", "test", "mine")
    assert tried.returncode == 0, tried.stdout

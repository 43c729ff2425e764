"""What went wrong in other programs while people signed in, one test for each by its number.

Named are CVE records; the wide matrices are in `test_hostile_urls` and `test_ssrf`.
"""

import os
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlencode

import anyio
import httpx2
import pytest
from tests.mcp.auth.authorization_server import AuthorizationServer, serving
from tests.mcp.auth.desk import SERVER, Browser, Desk, House, caller, house_at
from tests.mcp.auth.opener import Opener
from tests.mcp.auth.web import PUBLIC, Web, redirect, said, web

from patina.assembly.browser import open_page
from patina.cli.signing_in import TerminalVisitor
from patina.mcp.auth.authorization import CUSTOM_REDIRECT, Pending, begin, code_of
from patina.mcp.auth.failing import SignInFault
from patina.mcp.auth.loopback import listening
from patina.mcp.auth.shapes import AuthServer, Client
from patina.mcp.transports.http_client import Client as HttpClient
from patina.mcp.transports.link import Notes
from patina.mcp.transports.remote import Remote
from patina.model.faults import UsageFault
from patina.model.pages import Page, page_of
from patina.model.settings import OAuthSettings, ServerSettings
from patina.model.sign_in import SignIn

pytestmark = pytest.mark.anyio
posix = pytest.mark.skipif(os.name != "posix", reason="the program that notes is of the shell")
GOOD = "https://good.example"


@pytest.fixture
async def net(tmp_path: Path) -> AsyncIterator[Web]:
    async with web(tmp_path) as found:
        yield found


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    folder = tmp_path / "house"
    folder.mkdir()
    async with house_at(folder) as house:
        yield house


@pytest.fixture
async def stranger(house: House) -> AsyncIterator[AuthorizationServer]:
    """Another authorization server, with a server beside it: nobody here means to ask it."""
    async with serving(house.clock.monotonic) as server:
        yield server


@pytest.fixture
def opener(tmp_path: Path) -> Opener:
    folder = tmp_path / "programs"
    folder.mkdir()
    return Opener(folder)


async def visited(house: House, desk: Desk, opener: Opener) -> SignIn:
    """Sign in as `patina mcp login` does, with a browser that notes what it is given."""
    visitor = TerminalVisitor(SERVER, opener.environ, 5.0)
    with anyio.fail_after(30):
        return await desk.sign_ins.sign_in(SERVER, house.settings(timeout=5.0), visitor)


# 1 to 3: the page to sign in on was given to a shell, or to whatever the system has for a scheme

TO_A_SHELL = (
    # CVE-2025-6514, mcp-remote
    "a:$(cmd.exe /c whoami > c:\\temp\\pwned.txt)?response_type=code",
    "file:/c:/windows/system32/calc.exe",
    "file:///c:/windows/system32/calc.exe?response_type=code",
    # CVE-2025-54074 and CVE-2025-54382, Cherry Studio
    "http://evil.example/$(calc.exe)",
    'https://evil.example/";calc.exe;"',
    "https://evil.example/`calc.exe`",
    "https://evil.example/'\n;calc.exe;'",
    "https://$(calc.exe).evil.example/",
    "powershell:-c calc.exe",
)


@posix
async def test_cve_2025_6514_and_54074_and_54382_no_shell_and_no_scheme_but_the_webs(
    house: House, opener: Opener
) -> None:
    desk = house.desk()
    for page in TO_A_SHELL:
        house.server.metadata = {"authorization_endpoint": page}
        end = await visited(house, desk, opener)
        assert (end.state, end.url) == ("error", ""), page
    assert opener.opened == []


# 4: text of a server was run by a page that showed it

RUNS = (
    "javascript:alert(1)",
    " JavaScript:alert(1)",
    "data:text/html,x",
    "vbscript:x",
    "file:///x",
)
OF_SERVER = (
    *("issuer", "authorization_endpoint", "token_endpoint", "registration_endpoint"),
    *("revocation_endpoint", "userinfo_endpoint", "jwks_uri", "service_documentation"),
    *("op_policy_uri", "op_tos_uri", "introspection_endpoint", "end_session_endpoint"),
    *("device_authorization_endpoint", "pushed_authorization_request_endpoint"),
)
OF_RESOURCE = (
    *("resource", "jwks_uri", "resource_documentation", "resource_policy_uri", "resource_tos_uri"),
)


@posix
async def test_cve_2025_58444_no_field_of_metadata_may_run(house: House, opener: Opener) -> None:
    desk = house.desk()
    fields: list[tuple[dict[str, object], dict[str, object]]] = []
    for text in RUNS:
        fields += [({name: text}, {}) for name in OF_SERVER]
        fields += [({}, {name: text}) for name in OF_RESOURCE]
        fields.append(({}, {"authorization_servers": [text]}))
    for house.server.metadata, house.server.resource_metadata in fields:
        end = await visited(house, desk, opener)
        assert (end.state, end.step) == ("error", "discovery"), end
        assert not any("alert(1)" in shown for shown in (end.url, end.host, end.hint))
    assert opener.opened == []
    assert house.server.counts["registrations"] == 0


async def test_cve_2025_58444_the_page_at_the_end_shows_nothing_it_was_given() -> None:
    async with listening() as listener, anyio.create_task_group() as tasks:

        async def come() -> None:
            await listener.callback()
            await listener.close()

        tasks.start_soon(come)
        query = urlencode({"error": "<script>alert(1)</script>", "state": "javascript:alert(1)"})
        async with httpx2.AsyncClient(trust_env=False) as browser:
            answer = await browser.get(f"{listener.redirect_uri}?{query}")
        assert "alert" not in answer.text
        assert "script" not in answer.text
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        tasks.cancel_scope.cancel()


# 7 to 9: a page elsewhere, whose name was made to lead here, spoke to a local server


async def test_cve_2025_66414_and_66416_the_listener_knows_its_own_name_only() -> None:
    async with listening() as listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.callback)
        async with httpx2.AsyncClient(trust_env=False) as browser:
            for host in ("evil.example", f"evil.example:{listener.port}", "localhost", "0.0.0.0"):
                answer = await browser.get(
                    f"{listener.redirect_uri}?code=x&state=y", headers={"Host": host}
                )
                assert answer.status_code == 403
                assert "access-control-allow-origin" not in answer.headers
        tasks.cancel_scope.cancel()


# 13: where a token goes came from an address


async def test_cve_2026_25253_no_answer_says_where_tokens_go(
    house: House, stranger: AuthorizationServer
) -> None:
    class Lured(Browser):
        async def visit(self, page: Page) -> bool:
            async with httpx2.AsyncClient(trust_env=False) as browser:
                answer = await browser.get(page.url)
                more = urlencode(
                    {"token_endpoint": f"{stranger.url}/token", "gateway": stranger.url}
                )
                await browser.get(f"{answer.headers['location']}&{more}")
            return True

    end = await house.desk().sign_ins.sign_in(SERVER, house.settings(), Lured())
    assert end.state == "connected"
    assert stranger.log == []


# 14: a link led a request with its credentials to somebody else


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize(
    "location",
    [
        "https://other.example/steal",
        "//other.example/steal",
        "https://good.example:8443/steal",
        "https://good.example.other.example/steal",
    ],
)
async def test_cve_2024_22421_a_redirect_takes_no_credentials_along(
    net: Web, location: str, status: int
) -> None:
    net.answers = {"/a": redirect(location, status), "/steal": said()}
    secret = {"Authorization": "Bearer canary", "X-Xsrf-Token": "canary", "Cookie": "canary"}
    with suppress(SignInFault):  # the last is a host without a certificate
        await net.fetch()("GET", f"{GOOD}/a", headers=secret)
    assert "canary" in repr(net.requests[0].headers)
    assert all("canary" not in repr(request.headers) for request in net.requests[1:])


class Signed:
    """An `Authority` that would let anything pass."""

    wanted = False

    async def headers(self, method: str, url: str) -> Mapping[str, str]:
        return {"Authorization": "Bearer canary"}

    async def heard(
        self, status: int, answer: Mapping[str, str], sent: Mapping[str, str], attempt: int
    ) -> bool:
        return False


async def test_cve_2024_22421_nor_does_one_of_the_server_itself(
    net: Web, stranger: AuthorizationServer, tmp_path: Path
) -> None:
    own = f"http://127.0.0.1:{net.plain}"
    remote = Remote(f"{own}/mcp", {"X-Key": "canary"}, Notes(SERVER, tmp_path / "l"), auth=Signed())
    client = HttpClient(remote)
    port = stranger.url.rpartition(":")[2]
    for location in (f"{stranger.url}/mcp", f"//127.0.0.1:{port}/mcp", f"{own}@127.0.0.1:{port}/"):
        net.answers = {"/mcp": redirect(location, 307)}
        async with client.ask("POST", {}, b"{}") as response:
            assert response.status_code == 307
    await client.aclose()
    assert [request.headers["authorization"] for request in net.requests] == ["Bearer canary"] * 3
    assert stranger.log == []


# 21 and 22: there was more than one way to what opens addresses, and one did not check


@posix
def test_cve_2025_55733_and_2026_43899_all_that_opens_takes_pages_and_pages_are_of_the_web(
    opener: Opener,
) -> None:
    """`tests/rules/test_openers.py` shows that there is one opener, which takes pages only."""
    for scheme in ("deepchat", "patina", "vscode", "ms-msdt", "search-ms", "file", "javascript"):
        for rest in ("://start?mcp=x", ":x", "://good.example/", "://good.example/?target=_blank"):
            with pytest.raises(UsageFault):
                open_page(page_of(scheme + rest), opener.environ)
    assert opener.opened == []


# 25 to 27: the program that checked an address read it differently, or once only


@pytest.mark.parametrize(
    "url",
    [
        "https://good.example\\@127.0.0.1/",
        "https://127.0.0.1\\@good.example/",
        "https://good.example#@127.0.0.1/",
        "https://good.example\t@127.0.0.1/",
        "https://good.example&@127.0.0.1/",
        "https://127.0.0.1" + ":443@good.example:443/",
        "https://" + "[::ffff:127.0.0.1]@good.example/",
        "https://good.example%2f@127.0.0.1/",
        "https://good.example\uff20127.0.0.1/",
        "https:127.0.0.1/",
        "https:\\\\127.0.0.1/",
    ],
)
async def test_cve_2026_45400_an_address_that_reads_in_two_ways_is_none(net: Web, url: str) -> None:
    for use in (net.fetch(), net.fetch(accept="image/*")):
        try:
            await use("GET", url)
        except SignInFault:
            continue
        assert {request.host for request in net.requests} == {"good.example"}
        assert "@" not in url.partition("#")[0]
    assert set(net.dialled) <= {PUBLIC}


@pytest.mark.parametrize("hops", [1, 2, 3])
async def test_cve_2026_45401_each_redirect_is_checked(net: Web, hops: int) -> None:
    for target in ("https://127.0.0.1/x", "http://127.0.0.1/x", "https://inner.example/x"):
        net.names = {"inner.example": [["192.168.1.1"]]}
        net.answers = {f"/{hop}": redirect(f"/{hop + 1}") for hop in range(hops)}
        net.answers[f"/{hops}"] = redirect(target)
        net.answers["/x"] = said(b"secret")
        with pytest.raises(SignInFault):
            await net.fetch()("GET", f"{GOOD}/0")
    assert set(net.dialled) == {PUBLIC}


@pytest.mark.parametrize(
    "host",
    [
        *(
            "[::ffff:7f00:1]",
            "[::ffff:a9fe:a9fe]",
            "[::ffff:c0a8:101]",
            "[0:0:0:0:0:FFFF:0A00:0001]",
        ),
        *("[::ffff:127.0.0.1]", "[::ffff:0:7f00:1]", "[64:ff9b::a9fe:a9fe]", "[::7f00:1]"),
    ],
)
async def test_cve_2026_31943_an_address_inside_another_is_looked_at(net: Web, host: str) -> None:
    with pytest.raises(SignInFault):
        await net.fetch()("GET", f"https://{host}/latest/meta-data/")
    net.names = {"inner.example": [[host.strip("[]")]]}
    with pytest.raises(SignInFault):
        await net.fetch()("GET", "https://inner.example/latest/meta-data/")
    assert net.dialled == []


# 31: a second kind of credentials went another way


async def test_cve_2026_45339_there_is_one_way_for_credentials(house: House) -> None:
    own = ServerSettings(
        transport="streamable-http", url=house.server.mcp, headers={"authorization": "Bearer own"}
    )
    desk = await house.signed_in()
    assert desk.sign_ins.authority(SERVER, own) is None
    assert not desk.sign_ins.can_sign_in(own)


# 37: a token was sent to the place that another server named


async def test_cve_2025_51471_a_token_goes_to_no_realm(
    house: House, stranger: AuthorizationServer
) -> None:
    settings = house.settings()
    desk = await house.signed_in(settings)
    async with caller(desk, settings) as client:
        assert await client.call() == 200
        where = f"{stranger.url}/.well-known/oauth-protected-resource/mcp"
        house.server.challenge = (
            f'Bearer realm="{stranger.url}/token", service="x", resource_metadata="{where}",'
            f' authorization_uri="{stranger.url}/authorize", token_endpoint="{stranger.url}/token"'
        )
        house.server.end_access()
        # What renews is where the token came from, whatever the refusal says.
        assert await client.call() == 200
        house.server.revoke_all()
        assert await client.call() == 401
    authority = desk.sign_ins.authority(SERVER, settings)
    assert authority is not None
    assert await authority.headers("POST", stranger.mcp) == {}
    assert stranger.log == []
    assert stranger.seen_tokens == []


async def test_cve_2025_51471_nor_to_what_a_copied_server_asks(
    house: House, stranger: AuthorizationServer
) -> None:
    """The metadata of another server, under our address: its tokens would be for that one."""
    house.server.resource_metadata = {
        "resource": stranger.mcp,
        "authorization_servers": [house.server.issuer],
    }
    end = await house.desk().sign_ins.sign_in(SERVER, house.settings(), Browser())
    assert (end.state, end.step) == ("error", "discovery")
    assert house.server.counts["prompts"] == 0


# 42: a key was sent before anybody had agreed to anything


async def test_cve_2026_21852_nobody_is_asked_before_a_person_starts_it(house: House) -> None:
    settings = house.settings()
    desk = house.desk()
    authority = desk.sign_ins.authority(SERVER, settings)
    assert authority is not None
    assert await authority.headers("POST", settings.url) == {}
    async with caller(desk, settings) as client:
        assert await client.call() == 401
    await desk.sign_ins.state(SERVER, settings)
    assert house.server.log == ["POST /mcp"]


# 43: what one server may know was in the environment of all


async def test_cve_2026_40159_a_token_is_in_no_other_environment(house: House) -> None:
    oauth = OAuthSettings(
        client_id="own",
        issuer=house.server.issuer,
        authorization_endpoint=f"{house.server.url}/authorize",
        token_endpoint=f"{house.server.url}/token",
        variable="NOTES_TOKEN",
    )
    house.server.add_client("own")
    local = ServerSettings(command="true", oauth=oauth)
    desk = house.desk()
    end = await desk.sign_ins.sign_in(SERVER, local, Browser())
    assert end.state == "connected", end
    assert list(await desk.sign_ins.variables(SERVER, local)) == ["NOTES_TOKEN"]
    assert await desk.sign_ins.variables("other", ServerSettings(command="true")) == {}
    with pytest.raises(SignInFault):
        await desk.sign_ins.variables("other", local)
    assert not any("access-" in value for value in os.environ.values())


# 44: the consent to one client was taken for another's


def test_cve_2026_27124_an_answer_is_for_one_sign_in_of_one_client() -> None:
    def pending(issuer: str = "https://a.example") -> Pending:
        server = AuthServer(
            issuer=issuer,
            authorization_endpoint=f"{issuer}/authorize",
            token_endpoint=f"{issuer}/token",
            challenges=("S256",),
            iss=True,
        )
        return begin(
            server, Client(client_id="c"), redirect_uri=CUSTOM_REDIRECT, resource="", scope=""
        )

    ours, other = pending(), pending("https://b.example")
    assert ours.state != other.state

    def answer(**fields: str) -> str:
        return f"{CUSTOM_REDIRECT}?{urlencode({'code': 'c', 'iss': 'https://a.example', **fields})}"

    for wrong in (
        answer(state=other.state),
        answer(),
        answer(state=""),
        answer(state=f"{ours.state}x"),
        answer(state=ours.state) + f"&state={ours.state}",
        answer(state=ours.state).replace("callback", "callback/x"),
    ):
        with pytest.raises(SignInFault):
            code_of(ours, wrong)
    assert not ours.used
    with pytest.raises(SignInFault):  # the other server's answer, under our state
        code_of(ours, answer(state=ours.state, iss="https://b.example"))
    fresh = pending()
    assert code_of(fresh, answer(state=fresh.state)) == "c"
    with pytest.raises(SignInFault):  # once
        code_of(fresh, answer(state=fresh.state))


async def test_cve_2026_27124_a_client_is_known_to_one_authorization_server(
    house: House, stranger: AuthorizationServer
) -> None:
    settings = house.settings()
    desk = await house.signed_in(settings)
    house.server.resource_metadata = {"authorization_servers": [stranger.issuer]}
    end = await desk.sign_ins.sign_in(SERVER, settings, Browser())
    assert (end.state, stranger.counts["prompts"]) == ("connected", 1)
    # It knows a client of its own, and was asked for nothing that the first one gave.
    assert stranger.counts["registrations"] == 1
    assert not stranger.counts["refreshes"] + stranger.counts["revocations"]
    assert not {*stranger.seen_tokens} & {*house.server.access, *house.server.refresh}


# 46: an address that began with a dash was an option of the browser


@posix
@pytest.mark.parametrize(
    "url",
    [
        "-new-window",
        "--remote-debugging-port=9222",
        "-https://good.example/",
        " -x",
        "%action -x",
        "https://-x/",
        "https://good.example/ --no-sandbox",
    ],
)
def test_cve_2026_4519_no_address_is_an_option(url: str, opener: Opener) -> None:
    with pytest.raises(UsageFault):
        open_page(page_of(url), opener.environ)
    assert opener.opened == []
    assert open_page(page_of(f"{GOOD}/--x"), opener.environ)
    assert opener.opened == ["1", f"{GOOD}/--x"]

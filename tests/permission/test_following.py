"""Rules of a running app: what is written is in force at once, what the file says soon after."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.config.support import Home
from tests.mcp.house import until
from tests.permission.cases import TODAY, TOOLS

from patina.assembly.app import App, Setup, open_app
from patina.model.events import ServerNotice
from patina.model.faults import ConfigFault
from patina.model.rules import rule_id, rule_name
from patina.model.settings import PermissionRule
from patina.permission.approvals import Approvals, parse_approvals
from patina.ports.permission import Allow, AskUser, Case, Deny, Verdict
from patina.secrets.environment import Resolver

pytestmark = pytest.mark.anyio
SEARCH = PermissionRule(action="allow", server="github", tool="search", pin="h1")
DENY = '[[permissions.rules]]\naction = "deny"\n'


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


@asynccontextmanager
async def running(
    home: Home, *, lives_on: bool = True, approvals: Approvals | None = None
) -> AsyncIterator[tuple[App, list[ServerNotice]]]:
    notices: list[ServerNotice] = []
    setup = Setup(
        configured=home.load(),
        paths=home.paths,
        environ={},
        keys=Resolver({}, home.keys, lambda _: None),
        approvals=approvals or Approvals(),
        save=False,
        lives_on=lives_on,
        reload=home.load,
        on_notice=notices.append,
    )
    async with open_app(setup) as app:
        yield app, notices


def verdict(app: App, tool: str = "search") -> Verdict:
    return app.gate.decide(Case(tool=TOOLS[tool], arguments={}, today=TODAY))


async def test_what_always_writes_is_in_force_and_in_the_file(home: Home) -> None:
    home.write("# mine\nversion = 1\n")
    async with running(home, lives_on=False) as (app, _):
        asked = verdict(app)
        assert isinstance(asked, AskUser)
        assert SEARCH in asked.offers
        rules = app.services.rules
        assert rules is not None
        assert await rules.write(SEARCH) == rule_id(SEARCH)
        assert verdict(app) == Allow(rule_name(SEARCH))
        assert await rules.write(SEARCH) == rule_id(SEARCH)
    assert home.read().startswith("# mine\n")
    assert home.load().settings.permissions.rules == (SEARCH,)


async def test_nothing_is_written_into_a_file_that_is_wrong(home: Home) -> None:
    async with running(home, lives_on=False) as (app, _):
        home.write("[chat\n")
        assert app.services.rules is not None
        with pytest.raises(ConfigFault, match="line 1"):
            await app.services.rules.write(SEARCH)
        assert isinstance(verdict(app), AskUser)
    assert home.read() == "[chat\n"


async def test_a_change_of_the_file_is_followed(home: Home) -> None:
    async with running(home, approvals=parse_approvals("all")) as (app, notices):
        assert verdict(app) == Allow("--approve all")
        home.write(DENY)
        await until(lambda: isinstance(verdict(app), Deny))
        home.write("version = 1\n")
        await until(lambda: isinstance(verdict(app), Allow))
        assert notices == []


async def test_servers_whose_tools_run_unasked_are_followed(home: Home) -> None:
    server = '[mcp_servers.github]\ncommand = "unused"\nconnect = "manual"\nauto_approve = true\n'
    home.write(server)
    async with running(home) as (app, _):
        assert verdict(app) == Allow("mcp_servers.github.auto_approve")
        home.write(server.replace("true", "false"))
        await until(lambda: isinstance(verdict(app), AskUser))


async def test_a_wrong_rule_denies_every_call_until_it_is_right(home: Home) -> None:
    home.write('[[permissions.rules]]\naction = "allow"\n')
    async with running(home, approvals=parse_approvals("all")) as (app, notices):
        assert isinstance(verdict(app), Allow)
        home.write('[[permissions.rules]]\naction = "alow"\n')
        await until(lambda: isinstance(verdict(app), Deny))
        denied = verdict(app, "own")
        assert isinstance(denied, Deny)
        assert denied.reason.startswith(
            "No tool runs until the user's rules are right. config.toml line 2: "
            'permissions.rules[0].action is "alow"; allowed: allow, ask, deny'
        )
        assert [notice.level for notice in notices] == ["warning"]
        assert "No tool runs until the rules about tools can be read." in notices[0].text
        home.write("[chat\n")  # nobody knows what its rules would be
        await until(lambda: len(notices) == 2)
        assert isinstance(verdict(app), Deny)
        home.write('[[permissions.rules]]\naction = "allow"\n')
        await until(lambda: isinstance(verdict(app), Allow))


async def test_right_rules_hold_though_the_rest_of_the_file_is_wrong(home: Home) -> None:
    async with running(home) as (app, notices):
        home.write(f'[chat]\ntimeout = "x"\n{DENY}')
        await until(lambda: isinstance(verdict(app), Deny))
        denied = verdict(app)
        assert isinstance(denied, Deny)
        assert denied.rule == rule_name(PermissionRule(action="deny"))
        assert "No tool runs" not in notices[0].text


async def test_two_apps_on_one_file(home: Home) -> None:
    async with running(home) as (one, _), running(home) as (other, _):
        assert one.services.rules is not None
        await one.services.rules.write(SEARCH)
        await until(lambda: isinstance(verdict(other), Allow))

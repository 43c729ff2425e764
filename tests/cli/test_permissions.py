"""`patina permissions`."""

import json
from collections import Counter
from typing import Any

import anyio
import pytest
from tests.cli.support import home, in_process

from patina.model.ids import new_id
from patina.model.items import AnyItem, Ask, Choice, Decision, Head, Message, Meta
from patina.model.parts import ToolCall
from patina.model.rules import rule_id, rule_name
from patina.model.settings import PermissionRule
from patina.store.journal import FileJournal

Capture = pytest.CaptureFixture[str]
DELETE = PermissionRule(action="deny", tool="delete_*")
ONE = rule_id(DELETE)


def said(capsys: Capture, *arguments: str, code: int = 0) -> tuple[str, str]:
    capsys.readouterr()
    assert in_process("permissions", *arguments) == code
    out, err = capsys.readouterr()
    return out, err


def told(capsys: Capture, *arguments: str) -> Any:
    return json.loads(said(capsys, *arguments, "--json")[0])


def config() -> str:
    return (home() / "config.toml").read_text(encoding="utf-8")


def test_rules_are_added_listed_and_revoked(capsys: Capture) -> None:
    assert said(capsys, "list")[1].startswith("No rules.\n")
    out, _ = said(capsys, "add", "deny", "--tool", "delete_*")
    assert out == f"Added {ONE}: Always deny *.delete_*.\n"
    added = told(
        capsys,
        *("add", "allow", "--server", "git*", "--effect", "read", "--expires", "2020-01-31"),
        *("--arg", "path=/tmp/*", "--arg", "query=a=b", "--arg", "other="),
    )
    assert added == {
        "rule_id": added["rule_id"],
        "action": "allow",
        "server": "git*",
        "tool": "*",
        "effect": "read",
        "args": {"path": "/tmp/*", "query": "a=b", "other": ""},
        "expires": "2020-01-31",
        "pin": None,
        "state": "expired",
        "source": "file",
        "where": str(home() / "config.toml"),
        "says": added["says"],
    }
    rows = told(capsys, "list")
    assert [row["rule_id"] for row in rows] == [ONE, added["rule_id"]]
    assert rows[0]["state"] == "in force"
    out, err = said(capsys, "list")
    assert out.startswith(f"{ONE}\tAlways deny *.delete_*\tin force\n")
    assert err == "What no rule decides: ask (permissions.default).\n"
    assert told(capsys, "revoke", ONE[:6])["rule_id"] == ONE
    assert "delete_" not in config()
    assert said(capsys, "revoke", added["rule_id"])[0].startswith(f"Revoked {added['rule_id']}: ")
    assert told(capsys, "list") == []


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("add", "block"), "'block' is not one of"),
        (("add", "deny", "--effect", "reads"), "'reads' is not one of"),
        (("add", "deny", "--expires", "2026-02-30"), "The expires of a rule is"),
        (("add", "deny", "--expires", "soon"), "Allowed: a date, as 2026-12-31."),
        (("add", "deny", "--tool", ""), "The tool of a rule is empty."),
        (("add", "deny", "--server", ""), "The server of a rule is empty."),
        (("add", "deny", "--arg", "path"), "--arg path is not NAME=GLOB."),
        (("add", "deny", "--arg", "a=1", "--arg", "a=2"), "--arg names a twice."),
        (("add", "deny", "--tols", "x"), "--tols"),
        (("add",), "Missing argument '{deny|ask|allow}'"),
        (("revoke", "ffffffff"), "There is no rule ffffffff."),
        (("test", "--tool", "x"), "A rule needs an action."),
        (("test", "deny", "--expires", "soon"), "The expires of a rule is"),
        (("test", "deny", "--last", "0"), "--last"),
    ],
)
def test_what_is_wrong_changes_nothing(
    arguments: tuple[str, ...], says: str, capsys: Capture
) -> None:
    assert says in said(capsys, *arguments, code=2)[1]
    assert not (home() / "config.toml").exists()


@pytest.mark.parametrize("verb", ["list", "test", "add"])
def test_a_wrong_rule_in_the_file_ends_every_command(verb: str, capsys: Capture) -> None:
    home().mkdir(parents=True, exist_ok=True)
    text = '[[permissions.rules]]\naction = "deny"\ntols = "x"\n'
    (home() / "config.toml").write_text(text)
    arguments = (verb, "ask") if verb == "add" else (verb,)
    assert (
        "config.toml line 3: permissions.rules[0].tols is not known"
        in (said(capsys, *arguments, code=2)[1])
    )
    assert config() == text


def test_a_server_that_is_not_there_is_told_of(capsys: Capture) -> None:
    assert said(capsys, "add", "deny", "--server", "githab")[1] == (
        "No MCP server is named githab yet.\n"
    )
    assert said(capsys, "add", "deny", "--server", "gith*")[1] == ""


def test_text_of_a_rule_cannot_move_the_terminal(capsys: Capture) -> None:
    out, err = said(capsys, "add", "deny", "--tool", "x\x1b[2J\u202ey", "--server", "a\x1bb")
    assert "\x1b" not in out + err
    assert "\u202e" not in out + err
    assert "\x1b" not in said(capsys, "list")[0]


class Calls:
    """A conversation with tool calls, written as the engine would."""

    def __init__(self, day: int = 1) -> None:
        self.id = new_id()
        self._day = day
        self._count = 0
        self.items: list[AnyItem] = [
            Head(id=self.id, ts=self._ts(), conversation=self.id, format=1, app="test")
        ]

    def _ts(self) -> str:
        self._count += 1
        minutes, seconds = divmod(self._count, 60)
        hours, minutes = divmod(minutes, 60)
        return f"2026-11-{self._day:02}T{hours:02}:{minutes:02}:{seconds:02}.000Z"

    def keys(self) -> dict[str, Any]:
        return {"id": new_id(), "ts": self._ts()}

    def call(
        self,
        name: str,
        arguments: str = "{}",
        *,
        choice: Choice = "allow_once",
        rule: str = "user",
        effects: tuple[str, ...] = (),
    ) -> str:
        call = ToolCall(id="c1", name=name, arguments=arguments)
        message = Message(**self.keys(), role="assistant", parts=(call,))
        server, _, tool = name.partition(".")
        about: Any = {"message": message.id, "call_id": "c1"}
        ask = Ask(
            **self.keys(),
            **about,
            server=server,
            tool=tool,
            arguments=arguments,
            display_name=server,
            options=("allow_once", "deny"),
            effects=effects,
        )
        decided = Decision(**self.keys(), **about, choice=choice, rule=rule, ask=ask.id)
        self.items += [message, ask, decided]
        return message.id

    def write(self) -> str:
        async def main() -> None:
            async with FileJournal(home() / "data", home() / "state") as journal:
                await journal.append(self.id, self.items)

        anyio.run(main)
        return self.id


def test_a_rule_is_tried_on_past_calls(capsys: Capture) -> None:
    calls = Calls()
    read = calls.call("github.search", '{"query":"rust"}', effects=("reads",))
    calls.call("github.search", '{"query":"go"}')
    calls.call("github.delete_repo", effects=("writes", "destructive"), choice="deny")
    calls.call("files.move", "not JSON")
    session = calls.write()
    report = told(capsys, "test", "allow", "--server", "github", "--effect", "read")
    assert report == {
        "rule_id": rule_id(PermissionRule(action="allow", server="github", effect="read")),
        "calls": 3,
        "before": {"allow": 0, "ask": 3, "deny": 0},
        "after": {"allow": 1, "ask": 2, "deny": 0},
        "changes": [
            {
                "session_id": session,
                "item_id": read,
                "ts": calls.items[3].ts,
                "tool": "github.search",
                "arguments": {"query": "rust"},
                "before": "ask",
                "after": "allow",
                "decided": "allow_once",
                "rule": "user",
            }
        ],
    }
    out, _ = said(capsys, "test", "allow", "--server", "github", "--effect", "read")
    assert out.splitlines() == [
        "The rules as they are, over the last 3 calls: 0 allowed, 3 asked about, 0 denied.",
        "Always allow all tools that only read of github: 1 allowed, 2 asked about, 0 denied.",
        f'{calls.items[3].ts}\tgithub.search\t{{"query":"rust"}}\task\tallow',
    ]
    assert "It changes nothing." in said(capsys, "test", "ask")[1]
    assert not (home() / "config.toml").exists()


def test_the_newest_calls_of_all_conversations_count(capsys: Capture) -> None:
    trashed = Calls(day=4)
    trashed.call("a.gone")
    trashed.items.append(Meta(**trashed.keys(), deleted=True))
    trashed.write()
    for day in (3, 1, 2):
        calls = Calls(day)
        for number in range(3):
            calls.call(f"a.day{day}_{number}")
        calls.write()
    changes = told(capsys, "test", "deny", "--last", "4")["changes"]
    names = [change["tool"] for change in changes]
    assert names == ["a.day2_2", "a.day3_0", "a.day3_1", "a.day3_2"]
    assert told(capsys, "test")["calls"] == 9


def test_rules_are_listed_with_what_they_decided(capsys: Capture) -> None:
    said(capsys, "add", "deny", "--tool", "delete_*")
    said(capsys, "add", "allow")
    calls = Calls()
    for _ in range(2):
        calls.call("github.delete_repo", choice="deny", rule=rule_name(DELETE))
    calls.call("github.search")
    calls.write()
    rows = told(capsys, "list", "--used")
    assert [(row["decided"], row["last"]) for row in rows] == [(2, calls.items[6].ts), (0, None)]


def test_a_call_counts_once_as_it_was_decided_last(capsys: Capture) -> None:
    calls = Calls()
    message = calls.call("github.delete_repo")
    late = Decision(
        **calls.keys(), message=message, call_id="c1", choice="deny", rule=rule_name(DELETE)
    )
    calls.items.append(late)
    calls.write()
    report = told(capsys, "test", "deny")
    assert report["calls"] == 1
    assert [(one["decided"], one["rule"]) for one in report["changes"]] == [
        ("deny", rule_name(DELETE))
    ]


SERVERS = ("github", "files", "web", "mail")
TOOLS = {"search": ("reads",), "read": ("reads", "open_world"), "move": (), "delete_x": ("writes",)}


def test_a_thousand_calls_are_replayed_as_expected(capsys: Capture) -> None:
    """Expectations are worked out by hand from the rules, call by call, not by the gate."""
    expected: list[tuple[str, str, str]] = []
    for day in range(1, 11):
        calls = Calls(day)
        for number in range(100):
            server = SERVERS[number % 4]
            tool = list(TOOLS)[number // 4 % 4]
            path = "/etc/x" if number % 3 == 0 else f"/tmp/{number}"
            calls.call(f"{server}.{tool}", json.dumps({"path": path}), effects=TOOLS[tool])
            expected.append((f"{server}.{tool}", *by_hand(server, tool, path)))
        calls.write()
    for arguments in (
        ("deny", "--tool", "delete_*"),
        ("allow", "--effect", "read"),
        ("ask", "--server", "mail"),
    ):
        said(capsys, "add", *arguments)
    report = told(capsys, "test", "deny", "--arg", "path=/etc/*")
    assert report["calls"] == len(expected) == 1000
    for position, when in enumerate(("before", "after"), 1):
        counted = Counter(row[position] for row in expected)
        assert report[when] == {word: counted[word] for word in ("allow", "ask", "deny")}
    assert [(one["tool"], one["before"], one["after"]) for one in report["changes"]] == [
        row for row in expected if row[1] != row[2]
    ]


def by_hand(server: str, tool: str, path: str) -> tuple[str, str]:
    """What the four rules of the test make of a call, without and with the last of them."""
    if tool == "delete_x":
        before = "deny"
    elif server == "mail" or tool == "move":
        before = "ask"
    else:
        before = "allow"
    return before, "deny" if path.startswith("/etc/") else before

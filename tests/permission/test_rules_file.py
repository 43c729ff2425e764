"""Rules in the configuration file: wrong ones are refused, written ones leave the rest alone."""

import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.config.support import Home

from patina.config.rules import add_rule, read_permissions, revoke_rule
from patina.config.save import set_value
from patina.model.faults import EXIT_USAGE, ConfigFault, UsageFault
from patina.model.rules import rule_id
from patina.model.settings import PermissionRule

SEARCH = PermissionRule(action="allow", server="github", tool="search", pin="h1")
DELETE = PermissionRule(action="deny", tool="delete_*")


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('action = "alow"', 'line 3: permissions.rules[0].action is "alow"; allowed: allow, ask'),
        ('tool = "x"', "permissions.rules[0].action is missing"),
        ("action = 1", "permissions.rules[0].action is 1"),
        ('action = "deny"\neffect = "reads"', "line 4: permissions.rules[0].effect is"),
        (
            'action = "deny"\nexpires = "2026-02-30"',
            'line 4: permissions.rules[0].expires is "2026',
        ),
        ('action = "deny"\nexpires = "soon"', "allowed: a date"),
        ('action = "deny"\nexpires = 2026-02-03', "permissions.rules[0].expires"),
        ('action = "deny"\ntool = ""', "line 4: permissions.rules[0].tool is empty"),
        ('action = "deny"\nserver = ""', "line 4: permissions.rules[0].server is empty"),
        ('action = "deny"\ntols = "x"', "line 4: permissions.rules[0].tols is not known"),
        ('action = "deny"\nargs = "x"', "permissions.rules[0].args is"),
        ('action = "deny"\nargs = { a = 1 }', "permissions.rules[0].args.a is 1"),
        ('action = "deny"\n[[permissions.rule]]', "line 4: permissions.rule is not known"),
    ],
)
def test_a_wrong_rule_is_an_error_with_its_line(home: Home, text: str, says: str) -> None:
    home.write(f"# mine\n[[permissions.rules]]\n{text}\n")
    for read in (home.load, lambda: read_permissions(home.paths)):
        with pytest.raises(ConfigFault) as raised:
            read()
        assert says in str(raised.value)
        assert raised.value.exit_code == EXIT_USAGE


def test_permissions_are_read_whatever_else_is_wrong(home: Home) -> None:
    home.write('[chat]\ntimeout = "x"\n[permissions]\ndefault = "deny"\n')
    with pytest.raises(ConfigFault):
        home.load()
    assert read_permissions(home.paths).default == "deny"
    home.write("[chat\n")
    with pytest.raises(ConfigFault, match="line 1"):
        read_permissions(home.paths)


def test_the_first_rule_makes_the_file(home: Home) -> None:
    assert add_rule(home.paths, SEARCH) == rule_id(SEARCH)
    assert home.read() == (
        "version = 1\n\n[[permissions.rules]]\n"
        'action = "allow"\nserver = "github"\ntool = "search"\npin = "h1"\n'
    )
    assert add_rule(home.paths, SEARCH) == rule_id(SEARCH)
    assert len(read_permissions(home.paths).rules) == 1


FULL = """\
# Patina, my settings
version = 1            # format

[permissions]   # carefully
default = "reads"  # for now

# nobody deletes
[[permissions.rules]]
action = "deny"    # ever
tool = "delete_*"
# until the audit
[[permissions.rules]]
action = "ask"
server = "files"
[permissions.rules.args]
path = "/etc/*"

# the rest
[chat]
max_tokens = 5
"""


def test_a_rule_stands_behind_the_others_and_goes_again(home: Home) -> None:
    home.write(FULL)
    rule = PermissionRule(
        action="allow", server="files", args={"path": '/tmp/"x"', "a.b": "é"}, expires="2027-01-01"
    )
    added = add_rule(home.paths, rule)
    text = (
        '[[permissions.rules]]\naction = "allow"\nserver = "files"\n'
        'args = {path = "/tmp/\\"x\\"", "a.b" = "é"}\nexpires = "2027-01-01"\n\n'
    )
    assert home.read() == FULL.replace("# the rest", f"{text}# the rest")
    assert read_permissions(home.paths).rules[2] == rule
    assert revoke_rule(home.paths, added[:5]) == rule
    assert home.read() == FULL


def test_taking_a_rule_away_keeps_what_is_said_of_others(home: Home) -> None:
    home.write(FULL)
    assert revoke_rule(home.paths, rule_id(DELETE)) == DELETE
    assert home.read() == FULL.replace(
        '[[permissions.rules]]\naction = "deny"    # ever\ntool = "delete_*"\n', ""
    )
    last = read_permissions(home.paths).rules[0]
    assert revoke_rule(home.paths, rule_id(last)) == last
    assert read_permissions(home.paths).rules == ()
    assert "# until the audit" in home.read()
    assert home.load().settings.chat.max_tokens == 5


@pytest.mark.parametrize(
    "text",
    [
        '[permissions]\nrules = [{action = "deny", tool = "delete_*"}]  # one line\n',
        'permissions = { rules = [{action = "deny", tool = "delete_*"}] }\n',
        '[permissions]\nrules = [\n  {action = "deny", tool = "delete_*"},  # mine\n]\n',
        '[[permissions.rules]]\naction = """deny"""\ntool = "delete_*"\n[chat]\nmax_tokens = 7',
        '[["permissions"."rules"]]\naction = "deny"\ntool = "delete_*"\n',
        '[ui]\ntheme = "dark"\n[[permissions.rules]]\naction = "deny"\ntool = "delete_*"\n[log]\n',
        '\ufeff[[permissions.rules]]\r\naction = "deny"\r\ntool = "delete_*"\r\n',
    ],
)
def test_every_layout_of_rules(home: Home, text: str) -> None:
    home.write(text)
    before = home.load().settings
    added = add_rule(home.paths, SEARCH)
    assert read_permissions(home.paths).rules == (DELETE, SEARCH)
    if "# mine" in text:
        assert "# mine" in home.read()
    revoke_rule(home.paths, added)
    assert home.load().settings == before
    set_value(home.paths, "default_model", "openai/gpt-5")
    revoke_rule(home.paths, rule_id(DELETE))
    assert read_permissions(home.paths).rules == ()


def test_what_is_not_there_cannot_be_revoked(home: Home) -> None:
    home.write(FULL)
    for wanted in ("ffffffff", "", "x"):
        with pytest.raises(UsageFault, match="There is no rule"):
            revoke_rule(home.paths, wanted)
    many = [PermissionRule(action="ask", tool=f"t{number}") for number in range(17)]
    for rule in many:
        add_rule(home.paths, rule)
    firsts = [rule_id(rule)[0] for rule in many]
    shared = next(first for first in firsts if firsts.count(first) > 1)
    with pytest.raises(UsageFault, match="several"):
        revoke_rule(home.paths, shared)
    assert len(read_permissions(home.paths).rules) == 19


def test_a_rule_that_stands_twice_goes_twice(home: Home) -> None:
    rule = '[[permissions.rules]]\naction = "deny"\ntool = "delete_*"\n'
    home.write(f"{rule}{rule}")
    revoke_rule(home.paths, rule_id(DELETE))
    assert read_permissions(home.paths).rules == ()


def test_nothing_is_written_to_a_file_that_is_wrong(home: Home) -> None:
    home.write('[chat]\ntimeout = "x"\n')
    with pytest.raises(ConfigFault):
        add_rule(home.paths, SEARCH)
    home.write("")
    wrong: list[dict[str, Any]] = [{"tool": ""}, {"server": ""}, {"expires": "2026-02-30"}]
    for fields in wrong:
        with pytest.raises(UsageFault, match=f"The {next(iter(fields))} of a rule is"):
            add_rule(home.paths, PermissionRule(action="deny", **fields))
    assert home.read() == ""


def test_writers_at_the_same_time_lose_nothing(home: Home) -> None:
    rules = [PermissionRule(action="ask", tool=f"t{number}") for number in range(8)]
    threads = [threading.Thread(target=add_rule, args=(home.paths, rule)) for rule in rules]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(rule.tool for rule in read_permissions(home.paths).rules) == [
        rule.tool for rule in rules
    ]


_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
_GLOBS = _TEXT.filter(bool)
_RULES = st.builds(
    PermissionRule,
    action=st.sampled_from(["deny", "ask", "allow"]),
    server=_GLOBS,
    tool=_GLOBS,
    args=st.dictionaries(_GLOBS, _TEXT, max_size=2),
    expires=st.sampled_from(["", "2026-12-31"]),
)


@pytest.mark.skipif(sys.platform == "win32", reason="one folder per example is slow there")
@settings(max_examples=40, deadline=None)
@given(st.sampled_from(["", FULL]), st.lists(_RULES, min_size=1, max_size=3))
def test_what_is_added_is_what_is_read_and_goes_without_a_trace(
    text: str, rules: list[PermissionRule]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        home = Home(Path(folder))
        home.write(text or "version = 1\n")
        before, there = home.read(), read_permissions(home.paths).rules
        ids = {add_rule(home.paths, rule) for rule in rules}
        added = read_permissions(home.paths).rules[len(there) :]
        assert {rule_id(rule) for rule in added} == ids
        for one in ids:
            revoke_rule(home.paths, one)
        assert home.read() == before

"""Hostile and broken servers: each is contained. A healthy server beside it goes on answering,
memory is bounded, and when the supervisor is left there is no process and no descriptor more.

`fakes/hostile.py` says what each attack does; the tables here say what a caller learns of it.
"""

import gc
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Final, NamedTuple

import anyio
import psutil
import pytest
from tests.mcp.fakes.fleet import PYTHON, ROOT, fake, groups_alive, http_server
from tests.mcp.house import House, until

from patina.mcp.connection import Connection
from patina.mcp.supervisor import Supervisor
from patina.mcp.toolset import Toolset
from patina.model.faults import McpFault
from patina.model.parts import text_of
from patina.model.settings import ServerSettings

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(os.name == "nt", reason="the attacks are POSIX ones"),
]

ALLOWED_MB: Final = 150.0
ANSWERS_WITHIN: Final = 5.0
ENDS_WITHIN: Final = 30.0
ATTACKED_FOR: Final = 1.0  # where no answer ever comes
BOTH: Final = ("stdio", "http")
STDIO: Final = ("stdio",)
HTTP: Final = ("http",)


class Attack(NamedTuple):
    """`learns` is a pattern of what the caller is told: an answer's text or the fault's message."""

    mode: str
    learns: str
    over: tuple[str, ...] = BOTH


CALLS = (
    Attack("never", "nothing"),
    Attack("dies", r"stopped while echo ran: it exited with code 7.*disk is on fire", STDIO),
    Attack("dies", r"did not run echo|stopped while echo ran", ("http",)),
    Attack("floods", "answer: after the flood"),
    Attack("floods_forever", "nothing"),
    Attack("floods_changes", "answer: after the flood"),
    Attack("five_megabytes", "answer: x{5242880}$"),
    Attack("two_megabytes", "answer: x{2097152}$"),
    Attack("too_long", "(over|larger than) 64 MB"),
    Attack("rubbish", "answer: after the rubbish"),
    Attack("rubbish_forever", "nothing"),
    Attack("batches", "answer: (after the batches|in a batch)"),
    Attack("same_id_twice", "answer: first"),
    Attack("ids_never_asked", "answer: yours"),
    Attack("id_of_another_type", "answer: yours"),
    Attack("wrong_types", "not as the protocol demands"),
    Attack("no_result", "its answer cannot be read"),
    Attack("unknown_content", 'answer: .*"smell"'),
    Attack("false_picture", "answer: |not as the protocol demands"),
    Attack("deep", "its answer cannot be read"),
    Attack("invalid_utf8", "its answer cannot be read"),
    Attack("lone_surrogates", "answer: half \ufffd of a smile, and "),
    Attack("escapes", r"did not run echo: \\x1b\]0;owned\\x07"),
    Attack("closes_stdin", "nothing", STDIO),
    Attack("closes_stdout", "closed its output", STDIO),
    Attack("byte_by_byte", "answer: slow"),
    Attack("asks_endlessly", "answer: after the questions"),
    Attack("leaves_child", "exited with code 0", STDIO),
    Attack("ignores_sigterm", "answer: I stay", STDIO),
)
LISTS = (
    Attack("endless_pages", "more than 500 pages"),
    Attack("circling_pages", "in circles"),
    Attack("empty_pages", "more than 500 pages"),
    Attack("changes_each_time", "answer: "),
    Attack("ten_thousand_tools", "answer: "),
    Attack("too_many_tools", "more than 10,000 tools"),
    Attack("huge_names", "answer: "),
    Attack("wrong_tools", "not as the protocol demands"),
    Attack("deep_schema", "answer: "),
    Attack("too_deep_schema", "its answer cannot be read"),
    Attack("schema_goes_round", "answer: "),
    Attack("says_hello_twice", "answer: "),
)
HTTP_ITSELF = (
    Attack("gzip_bomb", "larger than 64 MB|content-encoding", HTTP),
    Attack("endless_header", "did not run echo|stopped while", HTTP),
    Attack("endless_headers", "did not run echo|stopped while", HTTP),
    Attack("endless_json", "larger than 64 MB", HTTP),
    Attack("endless_error", "500", HTTP),
    Attack("no_http", "did not run echo|stopped while", HTTP),
    Attack("bad_chunks", "did not run echo|stopped while", HTTP),
    Attack("short_body", "did not run echo|stopped while", HTTP),
    Attack("redirects_round", "redirect", HTTP),
    Attack("redirects_to_a_file", "redirect", HTTP),
    Attack("forgets", "404|session", HTTP),
    Attack("busy", "503", HTTP),
    Attack("ends_early", "ended before the answer", HTTP),
    Attack("evil_session", "answer: fine|session", HTTP),
)
PATIENCE: Final[dict[str, Any]] = {"connect_timeout": 5.0, "restarts": 0, "idle_timeout": 0.0}


@contextmanager
def attacker(attack: Attack, transport: str) -> Iterator[ServerSettings]:
    """Settings of a server that attacks; one over HTTP runs meanwhile."""
    module = "hostile_http" if attack in HTTP_ITSELF else "hostile"
    args = ("-S", "-E", "-m", f"tests.mcp.fakes.{module}", transport, attack.mode)
    if transport == "stdio":
        yield ServerSettings(command=PYTHON, args=args, cwd=str(ROOT), **PATIENCE)
    else:
        with http_server((PYTHON, *args)) as url:
            yield ServerSettings(transport="streamable-http", url=url, **PATIENCE)


class Toll:
    """What this process holds: descriptors, and memory at its worst, over what it held before."""

    def __init__(self) -> None:
        gc.collect()
        self._process = psutil.Process()
        self._descriptors = self._process.num_fds()
        self._before = self._most = self._process.memory_info().rss

    def look(self) -> None:
        self._most = max(self._most, self._process.memory_info().rss)

    @property
    def megabytes(self) -> float:
        return (self._most - self._before) / 2**20

    @property
    def descriptors(self) -> int:
        gc.collect()
        return self._process.num_fds() - self._descriptors


async def told(supervisor: Supervisor, wait: float = ENDS_WITHIN) -> str:
    """What a caller of the hostile server learns."""
    tools = Toolset(supervisor)
    with anyio.move_on_after(wait):
        try:
            await supervisor.connect("bad")
            echo = next((one for one in await tools.list(("bad",)) if one.tool == "echo"), None)
            assert echo is not None
            result = await tools.call(echo, {})
        except McpFault as fault:
            return fault.failure.message
        return f"answer: {text_of(result.parts)}"
    return "nothing"


async def healthy(supervisor: Supervisor, toll: Toll, over: Callable[[], bool]) -> int:
    """Call the healthy server until it is over, and once more; each call within its bound."""
    calls = 0
    last = False
    while not last:
        last = over()
        with anyio.fail_after(ANSWERS_WITHIN):
            add = partial(Connection.call, tool="add", arguments={"a": calls, "b": 1})
            result = await supervisor.use("good", add)
        assert result.content[0].model_dump()["text"] == str(calls + 1)
        assert supervisor.connected("good")
        toll.look()
        calls += 1
        with anyio.move_on_after(0.01):
            await anyio.Event().wait()
    return calls


async def warm(house: House) -> None:
    """Have everything loaded that a first connection of each kind loads."""
    if "patina.mcp.transports.http_link" in sys.modules and "patina.mcp.sdk" in sys.modules:
        return
    with http_server() as url:
        remote = ServerSettings(transport="streamable-http", url=url)
        async with house.supervisor({"good": fake(), "remote": remote}) as supervisor:
            await supervisor.connect("good")
            await supervisor.connect("remote")


async def suffer(house: House, attack: Attack, transport: str) -> tuple[str, int]:
    """Let the attack happen beside a healthy server. Returns what was learnt, and how many calls
    the healthy one answered meanwhile.
    """
    await warm(house)
    learnt = ""
    calls = 0
    toll = Toll()
    with attacker(attack, transport) as bad:
        async with house.supervisor({"good": fake(), "bad": bad}) as supervisor:
            await supervisor.connect("good")

            async def be_attacked() -> None:
                nonlocal learnt
                learnt = await told(
                    supervisor, ATTACKED_FOR if attack.learns == "nothing" else ENDS_WITHIN
                )

            async def go_on() -> None:
                nonlocal calls
                calls = await healthy(supervisor, toll, lambda: bool(learnt))

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(be_attacked)
                tasks.start_soon(go_on)
            left = anyio.current_time()
        assert anyio.current_time() - left < 10
        await until(lambda: not groups_alive(house, "good", "bad"))
    assert toll.megabytes < ALLOWED_MB
    assert toll.descriptors <= 0
    return learnt, calls


def _each(attacks: tuple[Attack, ...]) -> list[tuple[Attack, str]]:
    return [(attack, transport) for attack in attacks for transport in attack.over]


def _name(value: object) -> str:
    return value.mode if isinstance(value, Attack) else str(value)


# Hostile and broken servers: never answers, dies in mid-call, floods notifications, 5 MB line,
# 2 MB event, rubbish on stdout, ignores SIGTERM, forks children and exits, reused ids.
@pytest.mark.parametrize(("attack", "transport"), _each(CALLS), ids=_name)
async def test_an_attack_in_a_call_is_contained(
    house: House, attack: Attack, transport: str
) -> None:
    learnt, calls = await suffer(house, attack, transport)
    assert re.search(attack.learns, learnt, re.DOTALL), learnt[:500]
    assert "\x1b" not in learnt
    assert calls


# Hostile and broken servers: endless paging, a list that changes on every call.
@pytest.mark.parametrize(("attack", "transport"), _each(LISTS), ids=_name)
async def test_an_attack_in_the_list_is_contained(
    house: House, attack: Attack, transport: str
) -> None:
    learnt, calls = await suffer(house, attack, transport)
    assert re.search(attack.learns, learnt, re.DOTALL), learnt[:500]
    assert "\x1b" not in learnt
    assert calls


# The same over Streamable HTTP where the attack is in HTTP itself.
@pytest.mark.parametrize("attack", HTTP_ITSELF, ids=_name)
async def test_an_attack_by_http_itself_is_contained(house: House, attack: Attack) -> None:
    learnt, calls = await suffer(house, attack, "http")
    assert re.search(attack.learns, learnt, re.DOTALL), learnt[:500]
    assert "\x1b" not in learnt
    assert calls

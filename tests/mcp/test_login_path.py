"""A command that the PATH lacks is found where the user's login shell finds it."""

import os
import time
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest
from tests.mcp.house import House, alive, tool_of, until

from patina.mcp import environment, login_path
from patina.mcp.toolset import Toolset
from patina.mcp.trust import Trust
from patina.model.parts import text_of
from patina.model.settings import ServerSettings

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(os.name == "nt", reason="Windows has no login shell"),
]
POOR = "/usr/bin:/bin"


class Home:
    """A home with a folder of programs that only the login shell knows, and that shell."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.programs = root / "programs"
        self.programs.mkdir()
        self.shell = root / "shell"
        self.environ = {"PATH": POOR, "HOME": str(root), "SHELL": str(self.shell)}

    def has_shell(self, before: str = "", after: str = "", options: str = "*) ;;") -> None:
        """Make a shell that knows the programs; `options` are patterns of a `case` of sh."""
        path = f"{self.programs}:relative:{POOR}:{self.programs}"
        self.shell.write_text(
            f"""#!/bin/sh
echo "$*" >> {self.root}/asked
case "$*" in {options} esac
while [ "$1" != -c ]; do shift; done
{before}
PATH='{path}' /bin/sh -c "$2"
status=$?
{after}
exit $status
"""
        )
        self.shell.chmod(0o755)

    def program(self, name: str, text: str = "#!/bin/sh\n") -> Path:
        path = self.programs / name
        path.write_text(text)
        path.chmod(0o755)
        return path

    def asked(self) -> list[str]:
        """The options of each time that the shell was asked."""
        file = self.root / "asked"
        lines = file.read_text().splitlines() if file.exists() else []
        return [line.partition(" /bin/sh")[0] for line in lines]

    def answer(self) -> str:
        return login_path.answer(self.environ)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


TOOL = ServerSettings(command="some-tool-of-mine")


def test_the_shell_is_asked_once_and_only_where_a_command_is_missing(home: Home) -> None:
    home.has_shell()
    there = ServerSettings(command="sh")
    assert environment.binary(there, home.environ) in ("/usr/bin/sh", "/bin/sh")
    assert environment.search_path(there, home.environ) == POOR
    assert environment.given(there, home.environ)["PATH"] == POOR
    assert home.asked() == []
    program = home.program("some-tool-of-mine")
    for _ in range(3):
        assert environment.binary(TOOL, home.environ) == str(program)
    assert home.asked() == ["-l -i -c"]
    # The login shell's first, nothing twice, nothing relative.
    joined = f"{home.programs}:{POOR}"
    assert environment.search_path(TOOL, home.environ) == joined
    assert environment.given(TOOL, home.environ)["PATH"] == joined
    # Where the command is on the PATH, that stays as it is.
    assert environment.given(there, home.environ)["PATH"] == POOR
    assert environment.binary(ServerSettings(command="no-such"), home.environ) is None
    assert home.asked() == ["-l -i -c"]


def test_trust_sees_the_same_program(home: Home) -> None:
    home.has_shell()
    program = home.program("some-tool-of-mine")
    trust = Trust({"s": TOOL}, home.environ, home.root / "data")
    assert trust.describe("s").binary == str(program)
    trust.trust("s")
    assert trust.is_trusted("s")
    other = home.root / ".local/bin"
    other.mkdir(parents=True)
    program.rename(other / program.name)
    assert not trust.is_trusted("s")


def test_a_path_of_the_servers_own_is_final(home: Home) -> None:
    home.has_shell()
    home.program("some-tool-of-mine")
    own = ServerSettings(command="some-tool-of-mine", env={"PATH": "/nowhere"})
    assert environment.binary(own, home.environ) is None
    assert environment.binary(ServerSettings(command="/no/such"), home.environ) is None
    assert environment.binary(ServerSettings(command="./such"), home.environ) is None
    assert home.asked() == []


@pytest.mark.parametrize(
    "before",
    [
        "echo 'Welcome to zsh!'; printf 'no end of line'",
        "printf '\\033]0;title\\007\\377\\376'",
        "head -c 300000 /dev/zero",
        "echo the command is: $2",
        "exec 2>&1; echo oops >&2",
        "cat",  # its input is closed
        "sleep 60 & echo $! > child",  # holds the pipe open
    ],
)
async def test_greetings_do_no_harm(home: Home, before: str) -> None:
    home.has_shell(f"cd {home.root}; {before}", after="echo bye")
    started = time.monotonic()
    assert home.answer().startswith(f"{home.programs}:")
    assert time.monotonic() - started < login_path.LIMIT
    assert home.asked() == ["-l -i -c"]
    child = home.root / "child"
    await until(lambda: not child.exists() or not alive(int(child.read_text())))


def test_the_shell_sees_no_secrets(home: Home) -> None:
    home.has_shell(f"env > {home.root}/seen")
    environ = home.environ | {"OPENAI_API_KEY": "canary-1", "PATINA_HOME": "canary-2", "LANG": "C"}
    environment.binary(TOOL, environ)
    seen = (home.root / "seen").read_text()
    assert "canary" not in seen
    assert "LANG=C" in seen
    assert "TERM=dumb" in seen


def test_a_shell_that_knows_not_every_option(home: Home) -> None:
    home.has_shell(options="-l\\ -i*) echo 'unknown option: -i'; exit 1;;")
    assert home.answer().startswith(f"{home.programs}:")
    assert home.asked() == ["-l -i -c", "-l -c"]


def test_a_shell_like_csh(home: Home) -> None:
    """It takes `-l` only where nothing follows it."""
    home.has_shell(options="-l*) echo 'Usage: csh' >&2; exit 1;;")
    assert home.answer().startswith(f"{home.programs}:")
    assert home.asked() == ["-l -i -c", "-l -c", "-c"]


@pytest.mark.parametrize("name", ["bash", "dash", "zsh", "fish", "tcsh", "csh"])
def test_real_shells(home: Home, name: str) -> None:
    found = environment.binary(ServerSettings(command=name), {"PATH": os.defpath})
    if found is None:
        pytest.skip(f"no {name} here")
    home.environ["SHELL"] = found
    assert "/bin" in home.answer().split(":")


async def test_a_shell_that_hangs_is_given_up_and_killed(home: Home) -> None:
    home.has_shell(f"trap '' TERM; sleep 600 & echo $$ $! >> {home.root}/pids; wait")
    started = time.monotonic()
    assert home.answer() == ""
    assert time.monotonic() - started < login_path.TOTAL + 5
    pids = [int(pid) for pid in (home.root / "pids").read_text().split()]
    assert len(pids) >= 4
    await until(lambda: not any(alive(pid) for pid in pids))
    assert home.asked() == ["-l -i -c", "-l -c"]


@pytest.mark.parametrize("kind", ["fails", "endless", "relative", "absent", "unset", "folder"])
def test_without_an_answer_the_usual_folders_are_looked_in(home: Home, kind: str) -> None:
    if kind == "fails":
        home.has_shell(options="*) exit 127;;")
    elif kind == "endless":
        home.has_shell("exec yes")
    elif kind == "relative":
        home.has_shell()
        home.environ["SHELL"] = os.path.relpath(home.shell)
    elif kind == "unset":
        del home.environ["SHELL"]
    elif kind == "folder":
        home.shell.mkdir()
    program = home.root / ".local/bin" / "some-tool-of-mine"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    started = time.monotonic()
    assert environment.binary(TOOL, home.environ) == str(program)
    assert time.monotonic() - started < login_path.TOTAL
    usual = f"{POOR}:{home.root}/.local/bin:/usr/local/bin:/opt/homebrew/bin"
    assert environment.search_path(TOOL, home.environ) == usual


async def test_no_event_loop_waits_for_it(home: Home) -> None:
    home.has_shell("sleep 0.3")
    program = home.program("some-tool-of-mine")
    assert environment.binary(TOOL, home.environ) is None
    assert home.asked() == []
    beats = 0

    async def beat() -> None:
        nonlocal beats
        while True:
            await anyio.lowlevel.checkpoint()
            beats += 1

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(beat)
        await environment.look_up((TOOL,), home.environ)
        tasks.cancel_scope.cancel()
    assert beats > 5
    assert environment.binary(TOOL, home.environ) == str(program)
    await environment.look_up((TOOL,), home.environ)
    assert home.asked() == ["-l -i -c"]


async def test_nothing_is_asked_for_what_is_there(home: Home) -> None:
    home.has_shell()
    servers = (
        ServerSettings(command="sh"),
        ServerSettings(command="/no/such"),
        ServerSettings(command="no-such", env={"PATH": "/bin"}),
        ServerSettings(transport="websocket", url="wss://example.com/"),
    )
    await environment.look_up(servers, home.environ)
    assert home.asked() == []


async def test_a_server_starts_with_the_path_on_which_it_was_found(
    house: House, tmp_path: Path
) -> None:
    folder = tmp_path / "its-home"
    folder.mkdir()
    home = Home(folder)
    home.has_shell()
    odd = house.odd("env")
    home.program("some-tool-of-mine", f'#!/bin/sh\nexec {odd.command} "$@"\n')
    house.environ = house.environ | home.environ
    settings = ServerSettings(command="some-tool-of-mine", args=odd.args)
    async with house.supervisor({"s": settings}) as supervisor:
        tools = Toolset(supervisor)
        outcome = await tools.call(await tool_of(tools, "s.echo"), {})
    assert f'"PATH": "{home.programs}:{POOR}"' in text_of(outcome.parts)


def test_joined() -> None:
    assert login_path.joined("/a:b::/c", "/c:/d:.", "/h") == "/a:/c:/d"
    assert login_path.joined("", "/d", "/h") == "/d:/h/.local/bin:/usr/local/bin:/opt/homebrew/bin"


def test_the_shell_cannot_take_the_terminal(home: Home) -> None:
    """It has a session of its own, so job control of an interactive one disturbs nobody."""
    home.has_shell(f"ps -o sid= -p $$ > {home.root}/session 2>/dev/null || echo 0 > session")
    home.answer()
    session = (home.root / "session").read_text().strip()
    assert session not in ("", str(os.getsid(0)))

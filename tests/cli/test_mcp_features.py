"""Resources, prompts and completion on the command line, in `ask` and in the chat.

Over server-everything by both transports, and a small server for what that one does not do.
"""

import base64
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from tests.cli.asking_server import BINARY, EVIL
from tests.cli.conftest import EVERYTHING, transcripts
from tests.cli.model_server import ModelServer, model_server
from tests.cli.support import home, in_process, patina
from tests.cli.terminal import CTRL_C, CTRL_D, terminal
from tests.stand_ins import everything as everything_over_http

ASKING = Path(__file__).with_name("asking_server.py")
TEXT = "demo://resource/dynamic/text/1"
BLOB = "demo://resource/dynamic/blob/1"
Capture = pytest.CaptureFixture[str]
Run = Callable[..., CompletedProcess[str]]


@pytest.fixture(scope="module")
def remote() -> Iterator[str]:
    with everything_over_http("streamable-http") as url:
        yield url


@pytest.fixture(params=["stdio", "streamable-http"])
def ev(request: pytest.FixtureRequest) -> str:
    """The server "ev" is server-everything, by one of the transports."""
    if request.param == "stdio":
        command: tuple[str, ...] = ("ev", "--", "node", str(EVERYTHING), "stdio")
    else:
        command = ("ev", "--url", request.getfixturevalue("remote"))
    added = patina("mcp", "add", *command)
    assert added.returncode == 0, added.stderr
    return "ev"


@pytest.fixture
def run(capsys: Capture) -> Run:
    """Runs a command line here: what it says as from a process, without the time one takes."""

    def run(*arguments: str) -> CompletedProcess[str]:
        capsys.readouterr()
        code = in_process(*arguments)
        said = capsys.readouterr()
        return CompletedProcess(arguments, code, said.out, said.err)

    return run


@pytest.fixture
def asking() -> str:
    added = patina("mcp", "add", "asking", "--", sys.executable, str(ASKING))
    assert added.returncode == 0, added.stderr
    return "asking"


@pytest.fixture
def near() -> Iterator[ModelServer]:
    with model_server() as server:
        yield server


@pytest.fixture
def with_model(near: ModelServer) -> ModelServer:
    """The stand-in answers, beside the servers that are configured already."""
    file = home() / "config.toml"
    servers = file.read_text("utf-8").replace("version = 1\n", "") if file.exists() else ""
    file.parent.mkdir(exist_ok=True)
    file.write_text(
        'default_model = "near/one"\n[chat]\ntitles = "off"\n[providers.near]\n'
        f'kind = "openai_compatible"\nbase_url = "{near.url}"\n{servers}'
    )
    return near


def said(server: ModelServer) -> list[str]:
    """What the model was last told by the user, message by message."""
    told = [message for message in server.requests[-1][1]["messages"] if message["role"] == "user"]
    return [
        content if isinstance(content, str) else "".join(part.get("text", "") for part in content)
        for content in (message["content"] for message in told)
    ]


# server-everything


def test_all_that_server_everything_offers(ev: str, run: Run) -> None:
    def rows(*arguments: str) -> list[dict[str, object]]:
        done = run("mcp", *arguments, ev, "--json")
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout)
        assert isinstance(found, list)
        return found

    resources = rows("resources")
    assert {"server", "uri", "name", "title", "description", "media_type", "size"} == set(
        resources[0]
    )
    assert any(str(row["uri"]).startswith("demo://resource/static/document/") for row in resources)
    templates = {row["template"]: row["arguments"] for row in rows("resources", "--templates")}
    assert templates["demo://resource/dynamic/text/{resourceId}"] == ["resourceId"]
    prompts = {row["name"]: row["arguments"] for row in rows("prompts", "--refresh")}
    assert set(prompts) == {"simple-prompt", "args-prompt", "completable-prompt", "resource-prompt"}
    assert prompts["args-prompt"] == [
        {"name": "city", "description": "Name of the city", "required": True},
        {"name": "state", "description": "", "required": False},
    ]
    assert "args-prompt\tcity [state]\t" in run("mcp", "prompts", ev).stdout


def test_a_call_gives_the_bytes_of_a_picture(ev: str, run: Run) -> None:
    done = run("mcp", "call", ev, "get-tiny-image", "--json", "--approve", "all")
    assert done.returncode == 0, done.stderr
    (picture,) = [part for part in json.loads(done.stdout)["parts"] if part["type"] == "image"]
    assert base64.b64decode(picture["data"]).startswith(b"\x89PNG")


def test_resources_are_read(ev: str, run: Run, tmp_path: Path) -> None:
    text = run("mcp", "read", ev, TEXT)
    assert text.returncode == 0, text.stderr
    assert text.stdout.startswith("Resource 1: This is a plaintext resource")
    whole = json.loads(run("mcp", "read", ev, BLOB, "--json").stdout)
    assert (whole["server"], whole["uri"]) == (ev, BLOB)
    (content,) = whole["contents"]
    assert content["uri"] == BLOB
    blob = base64.b64decode(content["blob"])
    assert blob.startswith(b"Resource 1: This is a base64 blob")
    file = tmp_path / "out.bin"
    written = run("mcp", "read", ev, BLOB, "-o", str(file))
    assert written.returncode == 0, written.stderr
    assert file.read_bytes().startswith(b"Resource 1: This is a base64 blob")
    listed = json.loads(run("mcp", "resources", ev, "--json").stdout)
    document = next(row["uri"] for row in listed if str(row["uri"]).endswith(".md"))
    assert run("mcp", "read", ev, document).stdout.startswith("#")
    missing = run("mcp", "read", ev, "demo://nowhere/1")
    assert missing.returncode == 1
    assert "demo://nowhere/1" in missing.stderr


def test_prompts_are_run(ev: str, run: Run) -> None:
    simple = run("mcp", "prompt", ev, "simple-prompt")
    assert simple.stdout == "user: This is a simple prompt without arguments.\n"
    filled = run("mcp", "prompt", ev, "args-prompt", "city=New", "York", "state=NY", "--json")
    assert json.loads(filled.stdout) == {
        "server": ev,
        "prompt": "args-prompt",
        "messages": [
            {
                "role": "user",
                "parts": [{"type": "text", "text": "What's weather in New York, NY?"}],
            }
        ],
    }
    given = ("resourceType=Text", "resourceId=1")
    resource = run("mcp", "prompt", ev, "resource-prompt", *given)
    assert "Resource 1: This is a plaintext resource" in resource.stdout
    given = ("resourceType=Blob", "resourceId=1")
    held = json.loads(run("mcp", "prompt", ev, "resource-prompt", *given, "--json").stdout)
    data = held["messages"][-1]["parts"][-1]["data"]
    assert base64.b64decode(data).startswith(b"Resource 1: This is a base64 blob")


def test_arguments_are_completed(ev: str, run: Run) -> None:
    def complete(*arguments: str) -> list[str]:
        done = run("mcp", "complete", ev, *arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout.split()

    prompt = ("--prompt", "completable-prompt")
    assert complete(*prompt, "department", "E") == ["Engineering"]
    assert complete(*prompt, "name", "--known", "department=Sales") == ["David", "Eve", "Frank"]
    template = ("--template", "demo://resource/dynamic/text/{resourceId}")
    assert complete(*template, "resourceId", "7") == ["7"]
    as_json = run("mcp", "complete", ev, *prompt, "department", "Z", "--json")
    assert json.loads(as_json.stdout)["values"] == []


def test_server_everything_asks(ev: str, run: Run) -> None:
    call = ("mcp", "call", "--approve", "all", ev)
    form = run(*call, "trigger-elicitation-request", "--answer", '{"name": "Ada"}')
    assert form.returncode == 0, form.stderr
    assert "- Name: Ada" in form.stdout
    assert "- Favorite Integer: 42" in form.stdout
    declined = run(*call, "trigger-elicitation-request", "--decline")
    assert "User declined" in declined.stdout
    nobody = run(*call, "trigger-elicitation-request")
    assert "User cancelled" in nobody.stdout
    assert "nobody is here to answer" in nobody.stderr
    page = ("url=https://pages.example/x", "message=Go", "--answer", "{}")
    opened = run(*call, "trigger-url-elicitation", *page)
    assert "asks you to open https://pages.example/x" in opened.stderr
    assert "accept" in opened.stdout
    long = run(*call, "trigger-long-running-operation", "duration=1", "steps=3")
    assert (long.returncode, long.stderr) == (0, "")
    assert "3" in long.stdout


def test_server_everything_has_a_model_answer(ev: str, run: Run, with_model: ModelServer) -> None:
    sampled = run(
        *("mcp", "call", "--approve", "all", ev, "trigger-sampling-request"),
        *("prompt=hello", "maxTokens=20", "--answer", '{"messages": {"0": "say changed"}}'),
    )
    assert sampled.returncode == 0, sampled.stderr
    assert '"text": "changed"' in sampled.stdout
    assert with_model.requests[-1][1]["messages"][-1]["content"] == "say changed"
    for field in ("max_tokens", "max_completion_tokens"):
        assert with_model.requests[-1][1].get(field, 20) == 20


def sources() -> list[object]:
    """The servers that stand in each message of the user."""
    lines = [line for path in transcripts() for line in path.read_text().splitlines()]
    messages = [one for one in map(json.loads, lines) if one["k"] == "msg"]
    return [one.get("sources") for one in messages if one["role"] == "user"]


# C-23
def test_a_prompt_is_asked_with(ev: str, with_model: ModelServer) -> None:
    done = patina("ask", f"/{ev}:args-prompt city='New York' state=NY")
    assert done.returncode == 0, done.stderr
    assert said(with_model) == ["What's weather in New York, NY?"]
    done = patina("ask", f"/{ev}:args-prompt", "city=Basel", stdin="Before it.")
    assert done.returncode == 0, done.stderr
    assert "".join(said(with_model)).split("\n\n") == ["Before it.", "What's weather in Basel?"]
    done = patina("ask", "What is this?", "--resource", f"{ev}={TEXT}")
    assert done.returncode == 0, done.stderr
    asked = "".join(said(with_model))
    assert f'<resource server="ev" uri="{TEXT}">\nResource 1: This is a plaintext' in asked
    assert asked.endswith("What is this?")
    assert sources() == [["ev"]] * 3


# The small server


def test_bytes_go_to_pipes_and_files_and_never_to_a_terminal(asking: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "patina", "mcp", "read", asking]
    piped = subprocess.run([*command, "test://binary"], capture_output=True, timeout=60)
    assert piped.stdout == BINARY
    evil = subprocess.run([*command, "test://evil"], capture_output=True, timeout=60)
    assert evil.stdout == EVIL.encode()  # a pipe gets it as it is
    with terminal("mcp", "read", asking, "test://binary") as screen:
        screen.see("which a terminal cannot show.")
        screen.see("-o PATH")
        assert screen.end() == 2
        assert "\x00" not in screen.shown
    with terminal("mcp", "read", asking, "test://evil") as screen:
        screen.see("shown")
        assert screen.end() == 0
        assert "\x1b]" not in screen.shown
        assert "\x1b[2J" not in screen.shown
    file = tmp_path / "it"
    read = ("mcp", "read", asking, "test://text", "-o", str(file))
    assert patina(*read).stdout == f"{file}\n"
    assert file.read_text() == "a text\nof two lines"
    file.write_text("mine")
    kept = patina(*read)
    assert kept.returncode == 2
    assert "is there already" in kept.stderr
    assert file.read_text() == "mine"
    assert patina(*read, "--force").returncode == 0
    several = patina("mcp", "read", asking, "test://several", "-o", str(file), "--force")
    assert several.returncode == 2
    assert f"{file} is a file; a folder is needed." in several.stderr
    assert file.read_text() == "a text\nof two lines"
    folder = tmp_path / "several"
    both = patina("mcp", "read", asking, "test://several", "-o", str(folder))
    assert both.returncode == 0, both.stderr
    assert {path.name for path in folder.iterdir()} == {"1.txt", "2.bin"}
    assert (folder / "2.bin").read_bytes() == BINARY


def test_what_cannot_be_done_says_why(asking: str, run: Run, with_model: ModelServer) -> None:
    wrong = {
        ("mcp", "prompt", asking, "greet"): "needs name.",
        ("mcp", "prompt", asking, "greet", "name=A", "wrod=x"): "takes no wrod.",
        ("mcp", "prompt", asking, "greet", "Ada"): "Ada is not KEY=VALUE.",
        ("mcp", "prompt", asking, "nothing"): "offers no prompt nothing.",
        ("mcp", "complete", asking, "name"): "Whose argument is it?",
        ("mcp", "resources", "nobody"): "nobody",
        ("mcp", "read", asking, "test://text", "-o", "x", "--json"): "contradict",
        ("ask", f"/{asking}:greet"): "needs name.",
        ("ask", f"/{asking}:greet name='A"): "quotation mark",
        ("ask", "x", "--resource", "asking"): "is not SERVER=URI.",
        ("ask", "x", "--resource", "nobody=a:b"): "nobody",
        ("ask", "x", "--resource", f"{asking}=test://binary"): "no model reads",
    }
    for arguments, says in wrong.items():
        done = (patina if arguments[0] == "ask" else run)(*arguments)
        assert done.returncode == 2, (arguments, done)
        assert says in done.stderr + done.stdout
        assert "Traceback" not in done.stderr
    assert all(not body for _, body in with_model.requests)


def test_what_only_looks_like_a_prompt_is_text(asking: str, with_model: ModelServer) -> None:
    for text in ("/nobody:greet it's", f"/{asking}:nothing x", "/etc/hosts: what is it?", "/x"):
        done = patina("ask", text)
        assert done.returncode == 0, done.stderr
        assert said(with_model)[-1] == text


def test_a_prompt_that_ends_in_words_of_the_model(asking: str, with_model: ModelServer) -> None:
    assert patina("ask", f"/{asking}:talk").returncode == 0
    messages = [
        (message["role"], message["content"])
        for message in with_model.requests[-1][1]["messages"]
        if message["role"] != "system"
    ]
    assert messages == [
        ("user", "How are you?"),
        ("assistant", "Fine."),
        ("user", "Continue."),
    ]


def test_a_missing_argument_is_asked_for(asking: str) -> None:
    with terminal("mcp", "prompt", asking, "greet") as screen:
        screen.see("Whom to greet")
        screen.see("such as Ada, Alan, Grace Hopper")
        screen.see("name: ")
        screen.type("\n")
        screen.see("name: ")
        screen.type("Ada\n")
        screen.see("user: say Hello Ada, plainly.")
        assert screen.end() == 0
    with terminal("mcp", "prompt", asking, "greet") as screen:
        screen.see("name: ")
        screen.type(CTRL_D)
        screen.see("was not run: it needs name.")
        assert screen.end() == 2


@pytest.mark.parametrize("flags", [(), ("--json",)])
def test_changes_are_told_until_ctrl_c(asking: str, flags: tuple[str, ...]) -> None:
    with terminal("mcp", "watch", asking, "test://clock", *flags) as screen:
        screen.see("Waiting for changes of test://clock.")
        for _ in range(3):
            line = screen.see("test://clock")
            assert ("{" in line) is bool(flags)
        screen.press_until(CTRL_C, "^C")
        assert screen.end() == 130


# C-23 C-24 C-26 C-27 A-41
def test_prompts_resources_and_lists_in_a_chat(asking: str, with_model: ModelServer) -> None:
    with terminal("chat") as screen:
        screen.see("> ")
        screen.type("/mcp prompts asking\n")
        screen.see("## Prompts of asking")
        screen.see("- /asking:greet name=… [style=…]: Greet")
        screen.type("/mcp resources asking\n")
        screen.see("## Resources of asking")
        screen.see("- **test://text** text")
        screen.see("## Templates of asking")
        screen.type("/mcp tools asking\n")
        screen.see("- **form**")
        screen.see("tokens.")
        screen.type("/mcp\n")
        screen.see("- **asking**: enabled, connected, token: none, 6 tools")
        screen.type("/help\n")
        screen.see("/asking:talk")
        screen.type("/asking:greet\n")
        screen.see("such as Ada")
        screen.see("name: ")
        screen.type("Alan\n")
        screen.see("Hello Alan, plainly.")
        screen.type("/asking:greet name=Ada style='very warmly'\n")
        screen.see("Hello Ada, very warmly.")
        screen.type("/attach asking test://text\n")
        screen.see("test://text goes with the next message.")
        screen.type("say done\n")
        screen.see("endpoint")  # it begins with the resource
        screen.type("/attach\n")
        screen.see("Nothing is attached.")
        screen.type("/nobody:x\n")
        screen.see("no MCP server named nobody")
        screen.type("/asking:nothing\n")
        screen.see("offers no prompt nothing.")
        screen.see("> ")
        screen.type(CTRL_D)
        assert screen.end() == 0
    assert "a text\nof two lines" in said(with_model)[-1]
    assert said(with_model)[-1].endswith("say done")
    assert sources()[-1] == ["asking"]


# C-24
def test_the_tab_key_completes_prompts_and_their_arguments(
    asking: str, with_model: ModelServer
) -> None:
    pytest.importorskip("readline")
    with terminal("chat") as screen:
        screen.see("> ")
        screen.type("/mcp prompts asking\n")
        screen.see("/asking:talk")
        screen.see("> ")
        screen.type("/asking:g\t")
        screen.see("/asking:greet ")
        screen.type("na\t")
        screen.see("name=")
        screen.type("G\t")
        screen.see("'Grace Hopper' ")
        screen.type("\n")
        screen.see("Hello Grace Hopper, plainly.")
        screen.see("> ")
        screen.type(CTRL_D)
        assert screen.end() == 0


def test_the_tab_key_completes_what_is_attached(ev: str, with_model: ModelServer) -> None:
    pytest.importorskip("readline")
    assert patina("mcp", "resources", ev).returncode == 0
    with terminal("chat") as screen:
        screen.see("> ")
        screen.type("/attach e\t")
        screen.see("/attach ev ")
        screen.type("demo://resource/static/document/fe\t")
        screen.see("features.md")
        screen.type("\x15/attach ev demo://resource/dynamic/t\t")
        screen.see("ext/")
        screen.type("7\t\n")
        screen.see("demo://resource/dynamic/text/7 goes with the next message.")
        screen.see("> ")
        screen.type(CTRL_D)
        assert screen.end() == 0


@pytest.mark.parametrize("key", [CTRL_C, CTRL_D])
def test_a_prompt_that_is_left_leaves_the_line(
    asking: str, with_model: ModelServer, key: str
) -> None:
    with terminal("chat") as screen:
        screen.see("> ")
        screen.type("/asking:greet\n")
        screen.see("name: ")
        screen.press_until(key, "\n")
        screen.see("> ")
        screen.type(CTRL_D)
        assert screen.end() == 0

"""`patina ask` from outside: an independent stand-in as provider, a real MCP server as tool."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest
from tests.cli.conftest import transcripts
from tests.cli.model_server import HELLO, ModelServer, model_server
from tests.cli.support import home, patina
from tests.cli.terminal import CTRL_C, terminal

from patina.cli.result import AskResult
from patina.cli.sinks import TextSink
from patina.model import events, items
from patina.model.ids import new_id
from patina.model.parts import Citation, Text, Thinking, ToolCall

KINDS = ["head", "meta", "msg", "start", "msg", "decision", "call", "result", "start", "msg"]


def lines(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines()]


def kinds() -> list[object]:
    (transcript,) = transcripts()
    return [item["k"] for item in lines(transcript.read_text("utf-8"))]


@pytest.mark.parametrize("provider", ["openai", "azure"])
def test_a_conversation_of_two_rounds_with_a_tool(  # C-04, P-03, P-22
    provider: str, everything: str, request: pytest.FixtureRequest
) -> None:
    request.getfixturevalue(provider)
    model = "openai/gpt-4o" if provider == "openai" else "azure_openai/gpt-4o"
    done = patina(
        "ask", "What is the sum?", "-m", model, "--approve", "everything.get-sum", "--json"
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["message"]["text"] == "The sum is 42."
    assert f"{answer['provider']}/{answer['model']}" == model
    assert answer["stop_reason"] == "stop"
    assert answer["usage"]["input_tokens"] == 80
    assert answer["usage"]["output_tokens"] == 15
    cost = answer["cost"]
    assert Decimal(cost["amount"]) > 0
    assert (cost["currency"], cost["estimated"]) == ("USD", False)
    assert "genai-prices" in cost["source"]
    assert answer["error"] is None
    assert answer["time_to_first_token_ms"] is not None
    (call,) = answer["tool_calls"]
    assert call["server"] == "everything"
    assert call["tool"] == "get-sum"
    assert call["arguments"] == {"a": 2, "b": 40}
    assert call["status"] == "completed"
    assert call["decision"] == "allow_once"
    assert call["result_text"] == "The sum of 2 and 40 is 42."
    assert kinds() == KINDS


def test_events_are_the_engines_own_and_end_with_the_answer(openai: str, everything: str) -> None:
    done = patina("ask", "What is the sum?", "-m", "openai/gpt-4o", "--approve", "all", "--events")
    assert done.returncode == 0, done.stderr
    events = lines(done.stdout)
    names = [event["type"] for event in events]
    durable = [name for name in names if not str(name).endswith(".delta")]
    assert [name for name in durable if not str(name).startswith("server.")] == [
        "conversation.created",
        "meta.changed",
        "message.added",
        "turn.started",
        "reply.started",
        "message.added",
        "permission.decided",
        "tool.started",
        "tool.finished",
        "reply.started",
        "message.added",
        "turn.ended",
        "ask.finished",
    ]
    numbers = [event["seq"] for event in events]
    assert numbers == sorted(set(numbers))  # type: ignore[type-var]
    assert all(event["ts"] for event in events)
    texts = {event["type"]: event.get("text") for event in events}
    assert texts["tool.started"] == "Using everything.get-sum..."
    assert texts["tool.finished"] == "everything.get-sum completed"
    result = events[-1]["result"]
    assert isinstance(result, dict)
    assert result["message"]["text"] == "The sum is 42."


def test_the_answer_goes_to_stdout_and_what_tools_do_to_stderr(
    openai: str, everything: str
) -> None:
    done = patina("ask", "What is the sum?", "-m", "openai/gpt-4o", "--approve", "all")
    assert done.stdout == "Let me add them.\nThe sum is 42.\n"
    assert "Using everything.get-sum..." in done.stderr
    assert "everything.get-sum completed ✓" in done.stderr
    quiet = patina("ask", "What is the sum?", "-m", "openai/gpt-4o", "--approve", "all", "-q")
    assert quiet.stderr == ""


def test_without_a_person_a_tool_that_needs_an_answer_ends_with_the_flag(
    openai: str, everything: str
) -> None:
    done = patina("ask", "What is the sum?", "-m", "openai/gpt-4o", "--json")
    assert done.returncode == 4
    answer = json.loads(done.stdout)
    assert answer["error"]["kind"] == "permission"
    assert "--approve everything.get-sum" in answer["error"]["hint"]
    assert answer["tool_calls"][0]["status"] == "interrupted"
    # The conversation is whole: it goes on.
    again = patina("ask", "hello", "-c")
    assert again.returncode == 0, again.stderr
    assert "wörld 😀" in again.stdout


def test_a_denial_in_advance_is_told_to_the_model(openai: str, everything: str) -> None:
    done = patina("ask", "What is the sum?", "-m", "openai/gpt-4o", "--approve", "deny", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["tool_calls"][0]["status"] == "denied"


def test_a_person_at_the_terminal_is_asked(openai: str, everything: str) -> None:  # C-17, C-18
    pty = pytest.importorskip("pty")
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "patina", "ask", "What is the sum?", "-m", "openai/gpt-4o"],
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    shown = read_until(ours, "[D] Deny")
    assert "Allow tool?" in shown
    assert "everything.get-sum" in shown
    assert '"a": 2' in shown
    os.write(ours, b"a\n")
    drain(ours)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert out.decode().endswith("The sum is 42.\n")
    (transcript,) = transcripts()
    decision = next(i for i in lines(transcript.read_text()) if i["k"] == "decision")
    assert (decision["choice"], decision["rule"]) == ("allow_once", "user")


def read_until(descriptor: int, mark: str) -> str:
    import select

    shown = b""
    while mark not in shown.decode("utf-8", "replace"):
        ready, _, _ = select.select([descriptor], [], [], 60)
        assert ready, f"nothing more came after: {shown!r}"
        shown += os.read(descriptor, 65536)
    return shown.decode("utf-8", "replace")


def drain(descriptor: int) -> None:
    """Keep reading so that the other side never waits for us; ends with the terminal."""

    def read() -> None:
        try:
            while os.read(descriptor, 65536):
                pass
        except OSError:
            os.close(descriptor)

    threading.Thread(target=read, daemon=True).start()


def test_a_server_that_was_never_allowed_is_left_out_or_refused(openai: str) -> None:
    home().mkdir(parents=True)
    (home() / "config.toml").write_text('[mcp_servers.files]\ncommand = "true"\n')
    left_out = patina("ask", "hello", "-m", "openai/gpt-4o")
    assert left_out.returncode == 0
    assert "patina mcp trust files" in left_out.stderr
    named = patina("ask", "hello", "-m", "openai/gpt-4o", "--mcp", "files")
    assert named.returncode == 4
    assert "--approve start:files" in named.stderr
    assert "wörld" not in named.stdout


def test_a_conversation_goes_on_and_forks(openai: str) -> None:
    first = json.loads(patina("ask", "hello one", "-m", "openai/gpt-4o", "--json").stdout)
    session = first["session_id"]
    second = json.loads(patina("ask", "hello two", "-s", session[:20], "--json").stdout)
    assert second["session_id"] == session
    fork = json.loads(patina("ask", "hello three", "--fork", session, "--json").stdout)
    assert fork["session_id"] != session
    shown = json.loads(patina("sessions", "show", fork["session_id"], "--json").stdout)
    asked = [row["text"] for row in shown["messages"] if row["kind"] == "user"]
    assert asked == ["hello one", "hello two", "hello three"]
    listed = json.loads(patina("sessions", "list", "--json").stdout)
    assert [row["session_id"] for row in listed] == [fork["session_id"], session]
    assert listed[1]["title"] == "hello one"


def test_nothing_is_kept_where_that_is_asked(openai: str) -> None:
    done = patina("ask", "hello", "-m", "openai/gpt-4o", "--no-save")
    assert done.returncode == 0
    assert transcripts() == []


def test_piped_text_stands_before_the_prompt(openai: str) -> None:
    done = patina("ask", "hello", "-m", "openai/gpt-4o", "--json", stdin="some context\n")
    shown = patina("sessions", "show", json.loads(done.stdout)["session_id"], "--json")
    assert json.loads(shown.stdout)["messages"][0]["text"] == "some context\n\nhello"


def test_files_are_attached(openai: str, tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("Grüße\n", "utf-8")
    (tmp_path / "dot.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"\0" * 20)
    (tmp_path / "junk.bin").write_bytes(b"\xff\xfe\x00\x01")
    good = patina(
        "ask", "hello", "-m", "openai/gpt-4o", "--json",
        "-f", str(tmp_path / "note.txt"), "-f", str(tmp_path / "dot.png"),
    )  # fmt: skip
    assert good.returncode == 0, good.stdout
    (transcript,) = transcripts()
    message = next(i for i in lines(transcript.read_text("utf-8")) if i["k"] == "msg")
    parts = message["parts"]
    assert isinstance(parts, list)
    assert [part["type"] for part in parts] == ["text", "image", "text"]
    assert "Grüße" in parts[0]["text"]
    assert list(home().glob(f"data/blobs/*/{parts[1]['blob']}"))
    bad = patina("ask", "hello", "-m", "openai/gpt-4o", "-f", str(tmp_path / "junk.bin"))
    assert bad.returncode == 2
    assert "not text, an image or a PDF" in bad.stderr


def test_ctrl_c_keeps_the_partial_answer(openai: str) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "patina", "ask", "slowly", "-m", "openai/gpt-4o", "--json"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ},
    )
    wait_for_item("start")
    wait_for_item("chk")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    answer = json.loads(out)
    assert answer["stop_reason"] == "cancelled"
    assert answer["message"]["text"].startswith("This")
    (transcript,) = transcripts()
    last = lines(transcript.read_text("utf-8"))[-1]
    assert (last["k"], last["partial"]) == ("msg", True)


def wait_for_item(kind: str) -> None:
    import time

    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if any(f'"k":"{kind}"'.encode() in path.read_bytes() for path in transcripts()):
            return
        threading.Event().wait(0.02)
    raise AssertionError(f"no {kind} came")


def test_a_run_that_takes_too_long_ends(openai: str) -> None:
    done = patina("ask", "slowly", "-m", "openai/gpt-4o", "--timeout", "1", "--json")
    assert done.returncode == 3
    answer = json.loads(done.stdout)
    assert answer["error"]["kind"] == "timeout"


def test_a_cut_answer_is_shown_kept_and_told(openai: str) -> None:
    done = patina("ask", "cutme", "-m", "openai/gpt-4o")
    assert done.returncode == 3
    assert done.stdout.startswith("This")
    assert done.stdout.endswith("\n")
    assert done.stderr.startswith("patina: ")
    assert "Traceback" not in done.stderr
    (transcript,) = transcripts()
    items = lines(transcript.read_text("utf-8"))
    assert [item["k"] for item in items[-2:]] == ["msg", "note"]


def test_a_long_retry_after_fails_at_once_and_names_the_seconds(openai: str) -> None:
    done = patina("ask", "limit", "-m", "openai/gpt-4o", "--json")
    assert done.returncode == 3
    error = json.loads(done.stdout)["error"]
    assert error["kind"] == "rate_limit"
    assert "90" in error["message"] + error["hint"]


def test_the_most_replies_are_kept_to(openai: str, everything: str) -> None:
    done = patina(
        "ask", "What is the sum?", "-m", "openai/gpt-4o", "--approve", "all",
        "--max-turns", "1", "--json",
    )  # fmt: skip
    assert done.returncode == 1
    assert json.loads(done.stdout)["stop_reason"] == "max_turns"


def test_an_endpoint_that_is_down_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    monkeypatch.setenv("OPENAI_BASE_URL", f"http://127.0.0.1:{port}/v1")
    done = patina("ask", "hi", "-m", "openai/gpt-4o", "--timeout", "30", "--json")
    assert done.returncode == 3
    error = json.loads(done.stdout)["error"]
    assert error["kind"] == "network"
    assert error["hint"]
    # What the user typed is safe.
    assert kinds()[:3] == ["head", "meta", "msg"]


@pytest.mark.parametrize(
    ("arguments", "code", "kind", "says"),
    [
        (["hi"], 3, "auth", "No model provider"),
        (["hi", "-m", "openai/gpt-4o"], 3, "auth", "OPENAI_API_KEY"),
        (["hi", "-m", "nobody/x"], 2, "usage", "no provider named nobody"),
        (["hi", "-m", "demo/demo", "-s", "01ff"], 2, "usage", "01ff"),
        (["hi", "-m", "demo/demo", "-c"], 2, "usage", "no conversation to continue"),
        (["hi", "-m", "demo/demo", "--mcp", "ghost"], 2, "usage", "ghost"),
        (["hi", "-m", "demo/demo", "--approve", "maybe"], 2, "usage", "maybe"),
        (["hi", "-m", "demo/demo", "-f", "no-such-file"], 2, "usage", "no-such-file"),
        (["hi", "-m", "demo/demo", "--no-save", "-c"], 2, "usage", "only one"),
        (["hi", "--max-turns", "0"], 2, "usage", "max-turns"),
        (["hi", "--jsn"], 2, "usage", "--jsn"),
        ([], 2, "usage", "nothing to ask"),
    ],
)
def test_bad_input_is_one_sentence_and_the_right_code(
    arguments: list[str], code: int, kind: str, says: str
) -> None:
    text = patina("ask", *arguments)
    assert text.returncode == code, text.stderr
    assert says in text.stderr
    assert text.stderr.startswith("patina: ")
    assert "Traceback" not in text.stderr
    assert text.stdout == ""
    as_json = patina("ask", *arguments, "--json")
    assert as_json.returncode == code
    assert json.loads(as_json.stdout)["error"]["kind"] == kind


def test_a_damaged_transcript_opens_and_says_so(openai: str) -> None:
    session = json.loads(patina("ask", "hello", "-m", "openai/gpt-4o", "--json").stdout)[
        "session_id"
    ]
    (transcript,) = transcripts()
    damaged = transcript.read_bytes().replace(b"hello", b"hallo") + b'{"torn'
    transcript.write_bytes(damaged)
    shown = patina("sessions", "show", session)
    assert shown.returncode == 0
    assert "wörld" in shown.stdout
    assert "damaged lines were left out" in shown.stderr
    again = patina("ask", "hello again", "-s", session)
    assert again.returncode == 0, again.stderr


def test_no_key_is_in_any_file_or_output(openai: str, everything: str) -> None:
    done = patina(
        "ask", "What is the sum?", "-m", "openai/gpt-4o", "--approve", "all", "--events",
        "--log-level", "debug", "--debug-mcp",
    )  # fmt: skip
    assert done.returncode == 0
    canary = "sk-test-canary-0123456789"
    assert canary not in done.stdout + done.stderr
    written = [path for path in home().rglob("*") if path.is_file()]
    assert written
    assert not [path for path in written if canary.encode() in path.read_bytes()]


def test_two_processes_do_not_answer_in_one_conversation_at_once(openai: str) -> None:
    session = json.loads(patina("ask", "hello", "-m", "openai/gpt-4o", "--json").stdout)[
        "session_id"
    ]
    slow = subprocess.Popen(
        [sys.executable, "-m", "patina", "ask", "slowly", "-s", session],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    wait_for_item("chk")
    other = patina("ask", "hello", "-s", session, "--json")
    slow.terminate()
    slow.communicate(timeout=60)
    assert other.returncode == 2
    assert "answering" in json.loads(other.stdout)["error"]["message"]


def test_what_an_earlier_turn_left_is_no_part_of_this_answer(openai: str) -> None:
    slow = subprocess.Popen(
        [sys.executable, "-m", "patina", "ask", "slowly", "-m", "openai/gpt-4o"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    wait_for_item("chk")
    slow.kill()
    slow.wait(60)
    done = patina("ask", "hello", "-c", "--json")
    assert done.returncode == 0, done.stdout
    assert json.loads(done.stdout)["message"]["text"] == "Hi there, wörld 😀!"
    (transcript,) = transcripts()
    kept = [i for i in lines(transcript.read_text("utf-8")) if i["k"] == "msg" and i.get("partial")]
    assert len(kept) == 1


def test_a_large_text_is_whole_for_every_reader(tmp_path: Path) -> None:
    large = "".join(f"line {n} of a large file\n" for n in range(30_000))
    (tmp_path / "large.txt").write_text(large, "utf-8")
    asked = ("ask", "-m", "demo/demo", "hi", "-f", str(tmp_path / "large.txt"))
    session = json.loads(patina(*asked, "--json").stdout)["session_id"]
    shown = json.loads(patina("sessions", "show", session, "--json").stdout)
    assert large in shown["messages"][0]["text"]


def test_a_large_answer_is_printed_once_and_whole() -> None:
    """The demo repeats what it is told: a way to a large answer."""
    large = "word " * 80_000
    streamed = patina("ask", "-m", "demo/demo", stdin=large)
    at_once = patina("ask", "-m", "demo/demo", "--no-stream", stdin=large)
    as_json = patina("ask", "-m", "demo/demo", "--json", stdin=large)
    text = json.loads(as_json.stdout)["message"]["text"]
    assert streamed.stdout == at_once.stdout
    assert streamed.stdout.rstrip("\n") == text.rstrip("\n")


@pytest.mark.parametrize("style", ["--json", "--events"])
@pytest.mark.parametrize("wrong", [["--approve", "maybe"], ["--approve", "start:ghost"], []])
def test_a_failure_before_the_question_is_the_same_object(style: str, wrong: list[str]) -> None:
    words = ["hi"] if wrong else []
    done = patina("ask", *words, *wrong, style)
    assert done.returncode == 2
    last = json.loads(done.stdout.splitlines()[-1])
    answer = last if style == "--json" else last["result"]
    assert answer["error"]["kind"] == "usage"
    assert set(answer) >= {"session_id", "message", "tool_calls", "usage", "cost", "stop_reason"}


def test_a_prompt_that_is_no_utf_8_is_mended() -> None:
    if sys.platform == "win32":
        pytest.skip("arguments are text there")
    prompt = os.fsdecode(b"caf\xe9")
    command = [sys.executable, "-m", "patina", "ask", "-m", "demo/demo", prompt]
    done = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "caf\ufffd" in done.stdout.decode("utf-8")


def test_no_server_named_is_not_every_server() -> None:
    done = patina("ask", "hi", "-m", "demo/demo", "--mcp", "")
    assert done.returncode == 2
    assert "--no-tools" in done.stderr


def test_a_model_that_nobody_chose_is_named(openai: str) -> None:
    picked = patina("ask", "hello")
    assert "openai/gpt-5.2 answers: no default_model is set." in picked.stderr
    assert "answers:" not in patina("ask", "hello", "-q").stderr
    assert "answers:" not in patina("ask", "hello", "-m", "openai/gpt-4o").stderr
    assert "answers:" not in patina("ask", "hello", "-c").stderr
    # Nor is it silent where --offline has another one answer than the default.
    patina("config", "set", "default_model", "openai/gpt-4o")
    offline = patina("ask", "hello", "--offline")
    why = "openai/gpt-4o needs the network, and Patina is offline."
    assert (offline.returncode, offline.stderr) == (0, f"demo/demo answers: {why}\n")


def test_closed_outputs_are_nobodys_trouble() -> None:
    if sys.platform == "win32":
        pytest.skip("a POSIX shell closes them")
    command = f'"{sys.executable}" -m patina ask -m demo/demo hi'
    for closing in (">&-", "2>&-", ">&- 2>&-"):
        done = subprocess.run(
            f"{command} {closing}", shell=True, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        assert done.returncode == 0, done.stderr
        assert b"went wrong" not in done.stderr


def test_a_command_without_its_verb_explains_itself() -> None:
    done = patina("mcp")
    assert done.returncode == 2
    assert done.stderr.startswith("Usage: patina mcp")


def test_a_pipe_is_not_attached(tmp_path: Path) -> None:
    if sys.platform == "win32":
        pytest.skip("there are no named pipes in folders there")
    os.mkfifo(tmp_path / "pipe")
    done = patina("ask", "hi", "-m", "demo/demo", "-f", str(tmp_path / "pipe"))
    assert done.returncode == 2
    assert "is not a file" in done.stderr


@pytest.mark.parametrize(
    "words",
    [
        ["--version"],
        ["--help"],
        ["config", "get", "--json"],
        ["sessions", "show", "--json", "zzz"],
        ["ask", "--json", "-m", "demo/demo", "hi"],
    ],
)
def test_a_full_output_is_no_traceback(words: list[str]) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("no full device here")
    with full.open("wb") as output:
        command = [sys.executable, "-m", "patina", *words]
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.PIPE, timeout=60
        )
    assert done.returncode in (1, 2)
    assert b"Traceback" not in done.stderr
    assert b"Exception ignored" not in done.stderr


@pytest.fixture
def near() -> Iterator[ModelServer]:
    """The provider "near" is the default; its model takes 4,096 tokens."""
    with model_server() as server:
        home().mkdir(parents=True)
        (home() / "config.toml").write_text(
            'default_model = "near/one"\n[providers.near]\nkind = "openai_compatible"\n'
            f'base_url = "{server.url}"\n[providers.near.models.one]\ncontext_window = 4096\n'
        )
        yield server


SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string", "pattern": "^[a-z]+$"}},
    "required": ["name"],
}


@pytest.mark.parametrize("answer", ['{"name": "ann"}', '```json\n{"name": "ann"}\n```'])
def test_an_answer_that_fits_the_schema(near: ModelServer, tmp_path: Path, answer: str) -> None:
    (tmp_path / "s.json").write_text(json.dumps(SCHEMA))
    done = patina("ask", f"say {answer}", "--schema", str(tmp_path / "s.json"), "--json")
    assert done.returncode == 0, done.stdout
    assert json.loads(done.stdout)["message"]["text"] == answer  # unchanged, the fence included
    sent = near.requests[-1][1]["response_format"]
    assert sent["json_schema"]["schema"] == SCHEMA


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        ("plain words", "The answer is not JSON"),
        ('{"name": 3}', "`$.name`: must be of type string, is 3"),
        ('{"name": "ANN"}', "`$.name`"),
        ("{}", "the required"),
    ],
)
def test_an_answer_that_does_not_fit_the_schema(
    near: ModelServer, tmp_path: Path, answer: str, says: str
) -> None:
    (tmp_path / "s.json").write_text(json.dumps(SCHEMA))
    done = patina("ask", f"say {answer}", "--schema", str(tmp_path / "s.json"))
    assert done.returncode == 3
    assert done.stdout == f"{answer}\n"
    assert says in done.stderr
    told = patina("ask", f"say {answer}", "--schema", str(tmp_path / "s.json"), "--json")
    error = json.loads(told.stdout)["error"]
    assert error["kind"] == "server"
    assert says in error["message"]


@pytest.mark.parametrize("reason", ["content_filter", "refusal"])
def test_an_answer_that_was_declined_is_an_answer(
    near: ModelServer, tmp_path: Path, reason: str
) -> None:
    (tmp_path / "s.json").write_text(json.dumps(SCHEMA))
    question = ("ask", f"end {reason} I cannot", "--schema", str(tmp_path / "s.json"))
    done = patina(*question, "--json")
    assert done.returncode == 0, done.stdout
    told = json.loads(done.stdout)
    assert (told["stop_reason"], told["error"]) == (reason, None)


@pytest.mark.parametrize(
    ("end", "says"),
    [
        ("length Once upon", "--max-tokens allows more"),
        ("content_filter Once upon", "content filter"),
        ("refusal Once upon", "refused"),
        ("stop ", "without a word"),
        ("stop Once upon", ""),
    ],
)
def test_an_answer_that_is_not_whole_says_so(near: ModelServer, end: str, says: str) -> None:
    done = patina("ask", f"end {end}", "-m", "near/one")
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{end.partition(' ')[2]}\n".lstrip()
    assert says in done.stderr
    assert bool(done.stderr) == bool(says)
    assert not patina("ask", f"end {end}", "-m", "near/one", "-q").stderr


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "cannot be read"),
        ("{", "is not JSON"),
        ("[1]", "holds no JSON object"),
        ('{"type": "strnig"}', "cannot be used: the schema is not valid"),
    ],
)
def test_a_schema_that_is_none(
    near: ModelServer, tmp_path: Path, content: str | None, says: str
) -> None:
    path = tmp_path / "s.json"
    if content is not None:
        path.write_text(content)
    done = patina("ask", "hi", "--schema", str(path))
    assert done.returncode == 2
    assert says in done.stderr
    assert near.requests == []


def long_conversation() -> str:
    """A conversation that has no room for another answer. Returns its id."""
    done = patina("ask", "say " + "many words " * 800, "--json")
    assert done.returncode == 0, done.stdout
    return str(json.loads(done.stdout)["session_id"])


def test_a_conversation_that_is_too_long_is_not_sent(near: ModelServer) -> None:
    session = long_conversation()
    done = patina("ask", "hello", "-c", "--json")
    assert done.returncode == 3
    error = json.loads(done.stdout)["error"]
    assert error["kind"] == "context_too_long"
    assert f"patina sessions summarise {session}" in error["hint"]
    assert len(near.requests) == 1
    # The commands of the hint do it.
    shortened = patina("sessions", "summarise", session[:18])
    assert shortened.returncode == 0, shortened.stderr
    assert shortened.stdout == f"{HELLO}\n"
    assert "Summarising the older messages" in shortened.stderr
    again = patina("ask", "-s", session, "hello")
    assert (again.returncode, again.stdout) == (0, f"{HELLO}\n")
    contents = [message["content"] for message in near.requests[-1][1]["messages"][1:]]
    assert contents[0].endswith(HELLO)  # the summary
    assert contents[1:] == ["hello", "hello"]


def test_a_person_is_asked_whether_to_summarise(near: ModelServer) -> None:
    pytest.importorskip("pty")
    long_conversation()
    with terminal("ask", "hello", "-c") as screen:
        screen.see("is too long for near/one")
        screen.see("Summarise the older messages and try again? [y/N] ")
        screen.type("n\n")
        screen.see("patina: The conversation is too long")
        assert screen.end() == 3
    with terminal("ask", "hello", "-c") as screen:
        screen.see("[y/N] ")
        screen.press_until(CTRL_C, "patina: The conversation is too long")
        assert screen.end() == 3
    with terminal("ask", "hello", "-c") as screen:
        screen.see("[y/N] ")
        screen.type("y\n")
        screen.see("Summarising the older messages (1 of ")
        screen.see("The older messages are summarised.")
        screen.see(HELLO)
        assert screen.end() == 0


def test_what_is_for_the_provider_alone_is_not_printed() -> None:
    source = Citation("https://example.com", "A", start=0, end=2)
    parts = (
        Thinking("hm", "signature", "sealed"),
        Text("ok", citations=(source,), opaque="sealed"),
        ToolCall("c1", "a.b", "{}", "sealed"),
    )
    result = AskResult("s")
    message = items.Message(id=new_id(), ts="", role="assistant", parts=parts)
    result.take(events.MessageAdded(item=message))
    assert result.as_json(1)["message"] == {
        "role": "assistant",
        "text": "ok",
        "parts": [Thinking("hm"), Text("ok", citations=(source,)), ToolCall("c1", "a.b", "{}")],
    }


def test_warnings_and_absent_providers_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    warned = items.Note(id=new_id(), ts="", level="warning", text="No tools.", hint="So.")
    failed = items.Note(id=new_id(), ts="", level="error", text="Told elsewhere.")
    told: list[events.AnyEvent] = [
        events.NoteAdded(item=warned),
        events.NoteAdded(item=failed),
        events.ProviderChanged(provider="near", state="offline", text="near is away."),
        events.ProviderChanged(provider="near", state="limited"),
        events.ProviderChanged(provider="near", state="ready"),
    ]
    for states, quiet in ((False, False), (True, False), (True, True)):
        sink = TextSink(stream=True, quiet=quiet, states=states)
        for event in told:
            sink.show(event)
    warning = "No tools. So.\n"
    assert capsys.readouterr().err == f"{warning}{warning}near is away.\nnear is limited.\n"

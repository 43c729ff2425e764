"""`patina smoke` succeeds where all is well, and only there (P-20)."""

import json
import sys
import zlib
from pathlib import Path

import pytest
from tests.cli.support import home, in_process, patina, run

from patina.assembly.smoke import Check, check_events, check_log, check_transcript
from patina.model import events
from patina.model.items import Message
from patina.model.parts import Text

KINDS = ["head", "meta", "msg", "start", "msg", "decision", "call", "result", "start", "msg"]


def failed(checks: list[Check]) -> list[str]:
    """What was found wrong; each says what it saw."""
    assert all(check.ok or check.detail for check in checks)
    assert all(not check.ok or not check.detail for check in checks)
    return [check.what for check in checks if not check.ok]


def test_it_succeeds_from_any_folder_whatever_is_configured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hostile = tmp_path / "folder"
    hostile.mkdir()
    # Things in the working and home folders that a careless start would trip over.
    for name in ("json.py", "patina.py", "anyio.py"):
        (hostile / name).write_text("raise SystemExit('taken for a module')\n")
    (hostile / ".env").write_text("not a line\n")
    home().mkdir(parents=True)
    (home() / "config.toml").write_text("this is = not toml = at all")
    (home() / ".env").write_text("rubbish here\n")
    before = sorted(home().rglob("*"))
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    variables = {
        "OPENAI_API_KEY": "sk-canary-0123456789",
        "OPENAI_BASE_URL": "http://127.0.0.1:9/v1",
        "LLM_PROVIDER": "nobody",
        "HTTP_PROXY": "http://127.0.0.1:9",
        "HTTPS_PROXY": "http://127.0.0.1:9",
        "ALL_PROXY": "http://127.0.0.1:9",
        "HOME": str(hostile),
        "TMPDIR": str(temporary),
        "TEMP": str(temporary),
    }
    monkeypatch.chdir(hostile)
    # As an installed program is run: -P keeps the working folder's modules out.
    done = run([sys.executable, "-P", "-m", "patina", "smoke"], variables=variables)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) >= 8
    assert all(line.startswith("ok ") for line in done.stdout.splitlines()), done.stdout
    # Nothing is left behind, and nothing of the user's was touched.
    assert list(temporary.iterdir()) == []
    assert sorted(home().rglob("*")) == before


def test_the_files_may_be_kept(tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    done = patina("smoke", "--json", "--keep", str(folder))
    assert done.returncode == 0, done.stderr
    assert all(check["ok"] and not check["detail"] for check in json.loads(done.stdout))
    (transcript,) = folder.glob("data/transcripts/*/*/*.jsonl")
    kinds = [json.loads(line)["k"] for line in transcript.read_text("utf-8").splitlines()]
    assert kinds == KINDS
    assert (folder / "state/logs/patina.log").exists()
    # A second run would mix with the first.
    again = patina("smoke", "--json", "--keep", str(folder))
    assert again.returncode == 2
    assert "not an empty folder" in json.loads(again.stdout)["error"]["message"]
    assert in_process("smoke", "--keep", str(transcript / "below")) == 2


def test_events_that_are_not_as_they_should_be() -> None:
    assert failed(check_events([])) == [
        "the turn ended well",
        "the tool ran",
        "its words are right",
        "the answer repeats the tool's result",
        "events are numbered",
    ]
    message = Message(id="i", ts="t", role="assistant", parts=(Text("smoke"),))
    twice: list[events.AnyEvent] = [
        events.MessageAdded(seq=2, item=message),
        events.TurnEnded(seq=2, turn_id="i", stop_reason="error"),
    ]
    assert failed(check_events(twice)) == [
        "the turn ended well",
        "the tool ran",
        "its words are right",
        "events are numbered",
    ]


def sealed(**item: object) -> bytes:
    body = json.dumps(item, separators=(",", ":")).encode()
    return body[:-1] + b',"c":"%08x"}\n' % zlib.crc32(body)


def test_transcripts_that_are_not_as_they_should_be(tmp_path: Path) -> None:
    good = b"".join(sealed(k=kind) for kind in KINDS)
    order, whole = "the transcript has every item in order", "every line has its checksum"
    path = tmp_path / "one.jsonl"
    for content, wrong in (
        (good, []),
        (b"", [order]),
        (good[:-1], [order, whole]),
        (good + b'{"torn', [whole]),
        (good.replace(b'"meta"', b'"mate"'), [order, whole]),
        (good.replace(sealed(k="result"), b""), [order]),
        (b"rubbish\n" + good, [order, whole]),
        (b'{"k":"head"}\n' + good, [order, whole]),
        (b'["c"]\n' + good, [order, whole]),
    ):
        path.write_bytes(content)
        found = failed(check_transcript([path]))
        assert [what.startswith(start) for what, start in zip(found, wrong, strict=True)] == [
            True
        ] * len(wrong), content
    assert failed(check_transcript([])) == ["there is one transcript"]
    assert failed(check_transcript([path, path])) == ["there is one transcript"]


@pytest.mark.parametrize(
    ("content", "wrong"),
    [
        ('{"level":"info","msg":"smoke conversation ended"}\n', []),
        ('{"level":"info","msg":"other"}\n', ["the log tells of the run"]),
        (
            '{"level":"error","msg":"smoke conversation ended"}\n',
            ["the log has no errors"],
        ),
        ("rubbish\n", ["the log can be read"]),
        ("[1]\n", ["the log can be read"]),
        (None, ["the log can be read"]),
    ],
)
def test_logs_that_are_not_as_they_should_be(
    content: str | None, wrong: list[str], tmp_path: Path
) -> None:
    path = tmp_path / "patina.log"
    if content is not None:
        path.write_text(content)
    assert failed(check_log(path)) == wrong

"""The log: lines of JSON, redacted, rotated, and never in the way."""

import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.cli.support import home, patina

from patina.assembly.log import KEPT_FILES, JsonLinesHandler, install_log, remove_log
from patina.secrets.redact import Redactor


@pytest.fixture
def file(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "logs" / "patina.log"
    remove_log()


@pytest.fixture
def logger() -> logging.Logger:
    return logging.getLogger("patina.test")


def lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def test_a_record_is_a_line_of_json(file: Path, logger: logging.Logger) -> None:  # M-29
    install_log(file, "info", Redactor())
    assert not file.exists()
    logger.info("turn %s\nended", "one", extra={"data": {"ms": 12, "path": Path("/x")}})
    logger.debug("too quiet")
    (line,) = lines(file)
    assert line["level"] == "info"
    assert line["logger"] == "patina.test"
    assert line["msg"] == "turn one\nended"
    assert line["data"]["ms"] == 12
    assert line["pid"] == os.getpid()
    assert line["ts"].endswith("Z")
    assert len(line["ts"]) == len("2026-11-21T21:36:44.666Z")


def test_an_exception_has_a_traceback_without_values(file: Path, logger: logging.Logger) -> None:
    install_log(file, "info", Redactor(["canary-canary"]))
    local = "hidden-local-value"
    try:
        raise ValueError(f"wrong canary-canary {len(local)}")
    except ValueError:
        logger.exception("failed")
    (line,) = lines(file)
    assert line["error"]["type"] == "ValueError"
    assert line["error"]["message"] == "wrong *** 18"
    assert "Traceback" in line["error"]["traceback"]
    text = file.read_text()
    assert "canary" not in text.replace("test_log", "").replace('f"wrong canary-canary', "")
    assert text.count("hidden-local-value") == 0


def test_secrets_are_masked_wherever_they_stand(file: Path, logger: logging.Logger) -> None:
    secret = 'se"cret\\value'
    install_log(file, "info", Redactor([secret]))
    logger.warning("plain %s", secret)
    logger.warning("data", extra={"data": {"deep": [{secret: secret}]}})
    logger.warning("header Authorization: Bearer abcdefghijkl")
    text = file.read_text()
    assert len(lines(file)) == 3
    assert "cret" not in text
    assert "abcdefghijkl" not in text


def test_levels(file: Path, logger: logging.Logger) -> None:
    foreign = logging.getLogger("asyncio.test")
    install_log(file, "info", Redactor())
    foreign.info("no")
    foreign.warning("yes")
    logging.getLogger("mcp.client").info("no")
    install_log(file, "error", Redactor(), debug_mcp=True)
    logger.warning("no")
    logging.getLogger("mcp.client").debug("yes")
    install_log(file, "debug", Redactor())
    foreign.debug("yes")
    assert [line["msg"] for line in lines(file)] == ["yes"] * 3


def test_strange_records_do_no_harm(file: Path) -> None:
    class Rude:
        def __str__(self) -> str:
            raise RuntimeError("no")

    handler = JsonLinesHandler(file, Redactor())
    records: list[tuple[str, tuple[object, ...]]] = [
        ("%d and %d", (1,)),
        ("half a pair: \ud83d", ()),
        ("%s", (Rude(),)),
        ("x" * 1_000_000, ()),
        ("last", ()),
    ]
    for message, arguments in records:
        record = logging.LogRecord("patina", logging.INFO, "", 0, message, arguments, None)
        record.data = {1: object(), "rude": Rude}
        handler.emit(record)
    handler.close()
    found = [line["msg"] for line in lines(file)]
    assert found[0] == "%d and %d (1,)"
    assert found[1] == "half a pair: \\ud83d"
    assert found[2].startswith("xxx")
    assert len(found[2]) < 70_000
    assert found[3:] == ["last"]


def test_rotation(file: Path) -> None:
    handler = JsonLinesHandler(file, Redactor(), max_bytes=1000)
    record = logging.LogRecord("patina", logging.INFO, "", 0, "x" * 200, None, None)
    for _ in range(40):
        handler.emit(record)
    handler.close()
    files = sorted(path.name for path in file.parent.iterdir())
    assert files == ["patina.log", *(f"patina.log.{number}" for number in range(1, KEPT_FILES + 1))]
    assert all(path.stat().st_size <= 1000 for path in file.parent.iterdir())
    assert all(lines(path) for path in file.parent.iterdir())


def test_two_processes_rotate_without_losing_lines(file: Path) -> None:
    script = (
        "import logging, sys; from pathlib import Path; from patina.assembly.log import *\n"
        "handler = JsonLinesHandler(Path(sys.argv[1]), str, max_bytes=40_000)\n"
        "for number in range(400):\n"
        "    text = sys.argv[2] + str(number)\n"
        "    handler.emit(logging.LogRecord('p', 20, '', 0, text, None, None))\n"
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", script, str(file), name]) for name in ("a", "b")
    ]
    for process in processes:
        assert process.wait(60) == 0
    found = [line["msg"] for path in file.parent.iterdir() for line in lines(path)]
    assert len(found) == len(set(found)) == 800


def test_a_log_that_cannot_be_written_is_no_trouble(
    tmp_path: Path, logger: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "logs").write_text("a file where the folder should be")
    install_log(tmp_path / "logs" / "patina.log", "info", Redactor())
    logger.error("dropped")
    logger.error("dropped")
    remove_log()
    assert capsys.readouterr() == ("", "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no full device here")
def test_a_full_disk_is_no_trouble(capsys: pytest.CaptureFixture[str]) -> None:
    handler = JsonLinesHandler(Path("/dev/full"), Redactor())
    handler.emit(logging.LogRecord("p", logging.INFO, "", 0, "x", None, None))
    handler.close()
    assert capsys.readouterr() == ("", "")


def test_the_log_tells_how_turns_went_and_not_what_was_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """M-29: enough to see what failed and when, without a word of the conversation."""
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    assert patina("ask", "a very private question", "-m", "openai/x").returncode == 3
    assert patina("ask", "another private question", "-m", "demo/demo").returncode == 0
    text = (home() / "state/logs/patina.log").read_text("utf-8")
    records = [json.loads(line) for line in text.splitlines()]
    ended = [record for record in records if record["msg"] == "turn ended"]
    assert [record["level"] for record in ended] == ["warning", "info"]
    assert ended[0]["data"]["kind"] == "network"
    assert ended[1]["data"]["stop_reason"] == "stop"
    assert [r["data"]["model"] for r in records if r["msg"] == "turn started"] == [
        "openai/x",
        "demo/demo",
    ]
    assert "private" not in text

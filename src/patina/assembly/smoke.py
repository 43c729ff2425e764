"""A scripted conversation through the real engine, and the checks of what it left on disk."""

import json
import logging
import sys
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import anyio
from msgspec import Struct

from patina.assembly.app import App, Setup, open_app
from patina.assembly.log import install_log, remove_log
from patina.config.files import update_file
from patina.config.network import Network
from patina.config.paths import Paths
from patina.model import commands, events
from patina.model.ids import new_id
from patina.model.parts import Text, text_of
from patina.model.settings import Configured, ProviderSettings, ServerSettings, Settings
from patina.permission.approvals import Approvals
from patina.providers.stand_in import MODEL, stand_in
from patina.secrets.environment import Resolver
from patina.secrets.vault import key_file_vault

SECONDS = 60.0
_LAST_WORDS = "smoke conversation ended"
_KINDS = ["head", "meta", "msg", "start", "msg", "decision", "call", "result", "start", "msg"]


class Check(Struct, frozen=True):
    """One thing that was looked at. `detail` says what was found where it is not `ok`."""

    what: str
    ok: bool
    detail: str = ""


async def run_smoke(folder: Path, environ: Mapping[str, str]) -> list[Check]:
    """Run the conversation with all files below `folder`, and return what was checked."""
    paths = Paths(folder, folder / "data", folder / "state", folder / "cache")
    install_log(paths.log_file, "debug", str)
    try:
        seen: list[events.AnyEvent] = []
        async with stand_in() as base_url:
            with anyio.move_on_after(SECONDS) as scope:
                async with open_app(_setup(paths, environ, base_url)) as app:
                    await _converse(app, seen)
                    logging.getLogger(__name__).info(_LAST_WORDS)
        late = _check(
            "the conversation ended in time", not scope.cancelled_caught, f"{SECONDS:g} s"
        )
        files = sorted(paths.data.glob("transcripts/*/*/*.jsonl"))
        return [late, *check_events(seen), *check_transcript(files), *check_log(paths.log_file)]
    finally:
        remove_log()


def _setup(paths: Paths, environ: Mapping[str, str], base_url: str) -> Setup:
    provider = ProviderSettings(
        kind="openai_compatible", base_url=base_url, local=True, default_model=MODEL
    )
    server = ServerSettings(
        display_name="Demo",
        command=sys.executable,
        # -P, and a folder of ours: nothing that lies in the user's may be taken for a module.
        args=("-P", "-m", "patina.mcp.demo_server"),
        cwd=str(paths.config),
        allowed_tools=("echo",),
    )
    settings = Settings(
        default_model=f"stand-in/{MODEL}",
        providers={"stand-in": provider},
        mcp_servers={"demo": server},
    )
    kept = key_file_vault(paths.secrets_file, paths.key_file, update_file)
    return Setup(
        configured=Configured(settings),
        paths=paths,
        environ=environ,
        keys=Resolver({}, kept, seen=lambda value: None),
        network=Network(),
        approvals=Approvals(every=True, start=frozenset({"demo"})),
    )


async def _converse(app: App, seen: list[events.AnyEvent]) -> None:
    conversation = new_id()
    with app.engine.subscribe(conversation) as subscription:
        app.engine.submit(
            commands.SendMessage(
                conversation=conversation,
                message_id=new_id(),
                parts=(Text("Use the tool."),),
            )
        )
        async for event in subscription:
            seen.append(event)
            if isinstance(event, events.TurnEnded | events.CommandFailed):
                return


def _check(what: str, ok: bool, found: object) -> Check:  # noqa: FBT001 - the outcome
    return Check(what, ok, "" if ok else str(found))


def check_events(seen: Sequence[events.AnyEvent]) -> list[Check]:
    """Check what the engine said of the conversation."""
    last = seen[-1] if seen else None
    ended = isinstance(last, events.TurnEnded) and last.stop_reason == "stop"
    finished = [event.item for event in seen if isinstance(event, events.ToolFinished)]
    texts = [event.text for event in seen if isinstance(event, events.ToolStarted)]
    answers = [event.item for event in seen if isinstance(event, events.MessageAdded)]
    answer = text_of(answers[-1].parts) if answers else ""
    numbers = [event.seq for event in seen if event.seq]
    ascending = bool(numbers) and numbers == sorted(set(numbers))
    return [
        _check("the turn ended well", ended, last),
        _check("the tool ran", [item.status for item in finished] == ["completed"], finished),
        _check("its words are right", texts == ["Using demo.echo..."], texts),
        _check("the answer repeats the tool's result", "smoke" in answer, repr(answer)),
        _check("events are numbered", ascending, numbers),
    ]


def check_transcript(files: Sequence[Path]) -> list[Check]:
    """Read the transcript as a stranger would: JSON lines with a checksum each."""
    if len(files) != 1:
        return [_check("there is one transcript", ok=False, found=[path.name for path in files])]
    lines = files[0].read_bytes().split(b"\n")
    kinds = [_kind(line) for line in lines[:-1]]
    damaged = [line for line, kind in zip(lines, kinds, strict=False) if not kind]
    whole = not damaged and lines[-1] == b""
    return [
        _check("the transcript has every item in order", kinds == _KINDS, kinds),
        _check("every line has its checksum and its end", whole, damaged or lines[-1]),
    ]


def _kind(line: bytes) -> str:
    """Return the kind of a transcript line, "" where it is none or its checksum is wrong."""
    body, mark, _ = line.rpartition(b',"c":')
    try:
        item = json.loads(line)
        sum_is_right = bool(mark) and int(item["c"], 16) == zlib.crc32(body + b"}")
        return str(item["k"]) if sum_is_right else ""
    except (ValueError, LookupError, TypeError):
        return ""


def check_log(path: Path) -> list[Check]:
    """Check that the log tells of the run, in JSON lines, and of no error."""
    try:
        text = path.read_text("utf-8")
        levels = [json.loads(line)["level"] for line in text.splitlines()]
    except (OSError, ValueError, LookupError, TypeError) as error:
        return [_check("the log can be read", ok=False, found=repr(error))]
    errors = [
        line for line, level in zip(text.splitlines(), levels, strict=True) if level == "error"
    ]
    return [
        _check("the log tells of the run", _LAST_WORDS in text, text[-500:]),
        _check("the log has no errors", not errors, errors),
    ]

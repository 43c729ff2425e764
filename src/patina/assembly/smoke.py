"""A scripted conversation through the real engine, and the checks of what it left on disk."""

import json
import logging
import sys
import zlib
from collections.abc import Mapping
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
from patina.secrets.file import FileKeys

SECONDS = 60.0
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
                    logging.getLogger(__name__).info("smoke conversation ended")
        checks = [Check("the conversation ended in time", not scope.cancelled_caught)]
        return [*checks, *_check_events(seen), *_check_transcript(paths), *_check_log(paths)]
    finally:
        remove_log()


def _setup(paths: Paths, environ: Mapping[str, str], base_url: str) -> Setup:
    provider = ProviderSettings(
        kind="openai_compatible", base_url=base_url, local=True, default_model=MODEL
    )
    server = ServerSettings(
        display_name="Demo",
        command=sys.executable,
        args=("-m", "patina.mcp.demo_server"),
        allowed_tools=("echo",),
    )
    settings = Settings(
        default_model=f"stand-in/{MODEL}",
        providers={"stand-in": provider},
        mcp_servers={"demo": server},
    )
    return Setup(
        configured=Configured(settings),
        paths=paths,
        environ=environ,
        keys=Resolver({}, FileKeys(paths.secrets_file, update_file), seen=lambda value: None),
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


def _check_events(seen: list[events.AnyEvent]) -> list[Check]:
    last = seen[-1] if seen else None
    ended = isinstance(last, events.TurnEnded) and last.stop_reason == "stop"
    finished = [event.item for event in seen if isinstance(event, events.ToolFinished)]
    texts = [event.text for event in seen if isinstance(event, events.ToolStarted)]
    answers = [event.item for event in seen if isinstance(event, events.MessageAdded)]
    answer = text_of(answers[-1].parts) if answers else ""
    numbers = [event.seq for event in seen if event.seq]
    return [
        Check("the turn ended well", ended, repr(last)),
        Check("the tool ran", [item.status for item in finished] == ["completed"], repr(finished)),
        Check("its words are right", texts == ["Using demo.echo..."], repr(texts)),
        Check("the answer repeats the tool's result", "smoke" in answer, repr(answer)),
        Check("events are numbered", numbers == sorted(set(numbers)), repr(numbers)),
    ]


def _check_transcript(paths: Paths) -> list[Check]:
    """Read the transcript as a stranger would: JSON lines with a checksum each."""
    files = sorted(paths.data.glob("transcripts/*/*/*.jsonl"))
    if len(files) != 1:
        return [Check("there is one transcript", ok=False, detail=repr(files))]
    lines = files[0].read_bytes().split(b"\n")
    kinds, sealed = [], True
    for line in lines[:-1]:
        data = json.loads(line)
        body = line[: line.rindex(b',"c":')] + b"}"
        sealed = sealed and int(data["c"], 16) == zlib.crc32(body)
        kinds.append(data["k"])
    return [
        Check("the transcript has every item in order", kinds == _KINDS, repr(kinds)),
        Check("every line has its checksum and its end", sealed and lines[-1] == b"", repr(lines)),
    ]


def _check_log(paths: Paths) -> list[Check]:
    try:
        text = paths.log_file.read_text("utf-8")
        records = [json.loads(line) for line in text.splitlines()]
    except (OSError, ValueError) as error:
        return [Check("the log can be read", ok=False, detail=str(error))]
    errors = [record for record in records if record["level"] == "error"]
    return [
        Check("the log tells of the run", "smoke conversation ended" in text, text[-500:]),
        Check("the log has no errors", not errors, repr(errors)),
    ]

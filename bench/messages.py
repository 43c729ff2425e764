"""What Patina itself needs for a message, in one process: engine, journal and driver against the
mock server, beside a bare `httpx2` request with the same history and the same answer.

CPU is that of the whole process, threads included; the server is another one. Both take turns.
"""

import gc
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import anyio
import httpx2
from bench.idle_app import setup_in
from bench.processes import NotMeasuredError, mock_server
from bench.store import put_conversation
from bench.table import Row

from patina.assembly.app import App, open_app
from patina.model import commands, events
from patina.model.ids import new_id
from patina.model.items import Message
from patina.model.parts import Text, text_of
from patina.model.settings import ProviderSettings, Settings
from patina.model.tree import Tree

HISTORIES = (0, 1_000, 10_000)
DELTAS = 200
MODEL = "gpt-5.2"
LIMIT_MS = 20.0
_QUESTION = "hello"
# A turn's last steps (its mark of the file) come after its last event.
_SETTLING = 0.01


class Sample(NamedTuple):
    """CPU and wall milliseconds of one message of Patina, CPU of the bare request."""

    cpu: float
    wall: float
    bare: float


def rows(messages: int) -> list[Row]:
    """Measure so many messages in a new conversation and in long ones."""
    with mock_server(DELTAS) as port:
        return [row for history in HISTORIES for row in _rows(port, history, messages)]


def _rows(port: str, history: int, messages: int) -> list[Row]:
    with tempfile.TemporaryDirectory(prefix="patina-bench-") as folder:
        samples = anyio.run(_converse, Path(folder), port, history, messages)
    first, *rest = samples
    bare = statistics.median(sample.bare for sample in rest)
    cpu = statistics.median(sample.cpu for sample in rest)
    wall = statistics.median(sample.wall for sample in rest)
    own = statistics.median(sample.cpu - sample.bare for sample in rest)
    name = f"message, {history:,} before it" if history else "message, new conversation"
    floor_is = "bare httpx2 request"
    found = [
        Row(f"{name}: CPU", cpu, "ms", bare, floor_is),
        Row("   Patina's own share of it", own, "ms", limit=LIMIT_MS),
        Row("   start to end", wall, "ms"),
    ]
    if history:
        found.append(Row("   the first after opening: CPU", first.cpu, "ms", bare, floor_is))
    return found


async def _converse(folder: Path, port: str, history: int, messages: int) -> list[Sample]:
    base = f"http://127.0.0.1:{port}/v1"
    provider = ProviderSettings(kind="openai_compatible", base_url=base, local=True)
    settings = Settings(default_model=f"mock/{MODEL}", providers={"mock": provider})
    conversation = put_conversation(folder, history)[0] if history else new_id()
    samples = []
    async with open_app(setup_in(folder, settings)) as app:
        with httpx2.Client() as client:
            said: list[dict[str, str]] = []
            for number in range(messages + 1):
                gc.collect()  # garbage of the one is not to be swept in the time of the other
                cpu, wall = await _patina(app, conversation)
                if not number:
                    transcript = await app.journal.read(conversation)
                    said = _plain(Tree(transcript.items))[:-1]
                else:
                    said.append({"role": "user", "content": _QUESTION})
                gc.collect()
                begun = time.process_time()
                answer = _bare(client, base, said)
                bare = (time.process_time() - begun) * 1000
                said.append({"role": "assistant", "content": answer})
                samples.append(Sample(cpu, wall, bare))
    return samples


async def _patina(app: App, conversation: str) -> tuple[float, float]:
    """Send a message and wait for the end of its turn. Return CPU and wall milliseconds."""
    message = commands.SendMessage(
        conversation=conversation, message_id=new_id(), parts=(Text(_QUESTION),)
    )
    wall, cpu = time.perf_counter(), time.process_time()
    took = 0.0
    with app.engine.subscribe(conversation) as subscription:
        app.engine.submit(message)
        async for event in subscription:
            if isinstance(event, events.CommandFailed | events.TurnEnded):
                took = time.perf_counter() - wall
                if event.error is not None:
                    raise NotMeasuredError(f"a message: {event.error.message}")
                break
        await anyio.sleep(_SETTLING)
    return (time.process_time() - cpu) * 1000, took * 1000


def _plain(tree: Tree) -> list[dict[str, str]]:
    system = {"role": "system", "content": "You are a helpful assistant."}
    path = [item for item in tree.path() if isinstance(item, Message)]
    return [system, *({"role": item.role, "content": text_of(item.parts)} for item in path)]


def _bare(client: httpx2.Client, base: str, said: list[dict[str, str]]) -> str:
    body: dict[str, Any] = {
        "model": MODEL,
        "messages": said,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    pieces: list[str] = []
    with client.stream("POST", f"{base}/chat/completions", json=body) as response:
        for line in response.iter_lines():
            if line.startswith("data: ") and line != "data: [DONE]":
                for choice in json.loads(line[6:])["choices"]:
                    text = choice["delta"].get("content")
                    if text:
                        pieces.append(text)
    return "".join(pieces)

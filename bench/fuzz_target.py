"""One fuzz target; `fuzz.py` starts it: `python -m bench.fuzz_target TARGET CORPUS [OPTIONS]`.

What must hold for any bytes: nothing raises but what the contract names, a stream ends in exactly
one terminal event, and how the bytes are split makes no difference.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import atheris

# The modules that are fuzzed are imported under this, so that their branches count.
with atheris.instrument_imports(include=["patina"]):
    from tests.providers import wires
    from tests.providers.endpoint import HELLO, driver_for, endpoint_of, fold

    from patina.model.sse import EventParser, EventTooLargeError
    from patina.providers import failures
    from patina.providers.chunking import ChunkJoiner

ENDPOINT = endpoint_of("https://api.example.com/v1")
Target = Callable[[bytes], None]


def _pieces(data: bytes) -> tuple[bytes, list[bytes]]:
    """The first byte says how the rest is split."""
    size = data[0] % 64 + 1 if data else 1
    body = data[1:]
    return body, [body[at : at + size] for at in range(0, len(body), size)]


def reader_target(name: str) -> Target:
    """A wire protocol's reader."""
    spoken = wires.wire(name)

    async def make() -> Any:  # noqa: ANN401 - the driver of whichever protocol
        async with driver_for("http://127.0.0.1:1", spoken.KIND, **spoken.SETTINGS) as driver:
            return driver

    driver = anyio.run(make)

    def read(pieces: list[bytes]) -> tuple[object, ...]:
        reader = driver.reader(HELLO)
        events: list[Any] = []
        for piece in pieces:
            events += reader.feed(piece)
            if reader.ended:
                break
        told = fold([*events, *reader.finish()])
        calls = [(called, arguments) for called, _, arguments in told.calls]
        return told.text, told.thinking, calls, type(told.end)

    def target(data: bytes) -> None:
        body, pieces = _pieces(data)
        whole, split = read([body]), read(pieces)
        if whole != split:
            raise AssertionError(f"{whole} in one piece, {split} in {len(pieces)}")

    return target


def sse_target(data: bytes) -> None:
    """Server-sent events."""

    def read(pieces: list[bytes]) -> list[Any]:
        parser = EventParser()
        events = [event for piece in pieces for event in parser.feed(piece)]
        return [*events, *parser.flush()]

    body, pieces = _pieces(data)
    try:
        whole, split = read([body]), read(pieces)
    except EventTooLargeError:
        return
    if whole != split:
        raise AssertionError(f"{whole} in one piece, {split} in {len(pieces)}")


def chunking_target(data: bytes) -> None:
    """The joining of HTTP chunks: what comes out says the same as what went in."""
    head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"

    def joined(pieces: list[bytes]) -> bytes:
        joiner = ChunkJoiner()
        return b"".join(joiner.feed(piece) for piece in pieces)

    body, pieces = _pieces(data)
    whole, split = joined([head + body]), joined([head, *pieces])
    if _unchunked(whole.removeprefix(head)) != _unchunked(split.removeprefix(head)):
        raise AssertionError(f"{whole!r} in one piece, {split!r} in {len(pieces)}")


def _unchunked(data: bytes) -> bytes:
    """The data of the leading good chunks."""
    out = b""
    while (end := data.find(b"\r\n")) > 0:
        try:
            size = int(data[:end], 16)
        except ValueError:
            break
        if size <= 0 or data[end + 2 + size : end + 4 + size] != b"\r\n":
            break
        out += data[end + 2 : end + 2 + size]
        data = data[end + 4 + size :]
    return out


def complaints_target(data: bytes) -> None:
    """Error bodies: whatever they hold, they become one printable sentence."""
    told = [
        failures.refused(ENDPOINT, "m", status, {}, data, "2026-11-21T00:00:00.000Z")
        for status in (400, 401, 404, 429, 500, 529)
    ]
    for failure in [*told, failures.complained(ENDPOINT, "m", data)]:
        if not failure.message.isprintable():
            raise AssertionError(failure.message)


def seeds(target: str) -> list[bytes]:
    """Good inputs to begin with."""
    if target in wires.NAMES:
        return [b"\x07" + b"".join(events) for events in wires.answers(target).values()]
    if target == "complaints":
        return [
            b'{"error": {"message": "no", "type": "t", "code": "invalid_api_key"}}',
            b'{"error": "model not found"}',
            b'[{"error": {"code": 429, "status": "RESOURCE_EXHAUSTED", "details": [{}]}}]',
            b'{"type": "error", "error": {"type": "overloaded_error", "message": "x"}}',
            b'{"message": "too many tokens"}',
            b'{"detail": [{"msg": "field required"}]}',
            b"<html>",
        ]
    if target == "sse":
        return [b"\x07data: a\n\nevent: x\ndata: b\r\n\r\n: c\rid: 1\rretry: 5\rdata: d\r\r"]
    return [b"\x075\r\nhello\r\n6;x=1\r\n world\r\n0\r\n\r\n"]


def main() -> None:
    """Fuzz until libFuzzer's limits end it."""
    name, corpus = sys.argv[1], Path(sys.argv[2])
    for number, seed in enumerate(seeds(name)):
        (corpus / f"seed-{number}").write_bytes(seed)
    single = {"sse": sse_target, "chunking": chunking_target, "complaints": complaints_target}
    target = single.get(name) or reader_target(name)
    atheris.Setup([sys.argv[0], *sys.argv[2:]], target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()

"""Other processes, for tests that need them: `python -m tests.store.children WHAT ARGUMENT…`.

Each prints one line when it is ready or done; those that hold something end with their stdin.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

import anyio
from tests.store.talk import Talk

from patina.model.faults import Fault
from patina.store import lock
from patina.store.journal import FileJournal

NOBODY = 65534


def say(**facts: Any) -> None:
    print(json.dumps(facts), flush=True)


def hold_file(path: Path) -> None:
    descriptor = os.open(path, os.O_RDWR)
    say(held=lock.acquire(descriptor, 5))
    sys.stdin.read()


async def hold_turn(data: Path, state: Path, conversation: str) -> None:
    async with FileJournal(data, state).turn(conversation):
        say(held=True)
        sys.stdin.read()


async def fill(data: Path, state: Path) -> None:
    """Append until a file may not grow any more, then lift the limit and append once more."""
    if sys.platform == "win32":
        raise NotImplementedError
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
    talk = Talk()
    acknowledged = [talk.conversation]
    async with FileJournal(data, state) as journal:
        await journal.append(talk.conversation, [talk.head()])
        failure = None
        while failure is None:
            message = talk.say("x" * 700)
            try:
                await journal.append(talk.conversation, [message])
                acknowledged.append(message.id)
            except Fault as fault:
                failure = fault.failure
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
        message = talk.say("after")
        await journal.append(talk.conversation, [message])
        acknowledged.append(message.id)
    say(acknowledged=acknowledged, message=failure.message, hint=failure.hint)


async def visit(data: Path, state: Path, conversation: str) -> None:
    """Use folders as a user who may not write them, and say what each verb answers."""
    # What is imported late may lie where the other user cannot read.
    import hashlib  # noqa: F401

    if sys.platform != "win32" and os.geteuid() == 0:
        os.setresuid(NOBODY, NOBODY, NOBODY)
    answers = {}
    talk = Talk(conversation=conversation, start=1000)
    async with FileJournal(data, state) as journal:

        async def attempt(name: str, work: Any) -> None:
            try:
                await work
                answers[name] = "done"
            except Fault as fault:
                answers[name] = fault.failure.message

        await attempt("read", journal.read(conversation))
        await attempt("list", journal.list())
        await attempt("append", journal.append(conversation, [talk.say("more")]))
        await attempt("put_blob", journal.put_blob(b"more"))
        async with journal.turn(conversation):
            answers["turn"] = "done"
            await attempt("second turn", journal.turn(conversation).__aenter__())
    say(**answers)


def main(what: str, *arguments: str) -> None:
    if what == "hold_file":
        hold_file(Path(arguments[0]))
    elif what == "hold_turn":
        anyio.run(hold_turn, Path(arguments[0]), Path(arguments[1]), arguments[2])
    elif what == "fill":
        anyio.run(fill, Path(arguments[0]), Path(arguments[1]))
    elif what == "visit":
        anyio.run(visit, Path(arguments[0]), Path(arguments[1]), arguments[2])


if __name__ == "__main__":
    main(*sys.argv[1:])

"""How far off a bill is where providers do not say what was used.

The conversation is in `fixtures/usage/counted.json`, with the tokens that o200k_base, the encoding
of OpenAI's models, makes of each text. It is held with the engine, and the ledger is the bill.
"""

import json
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

import pytest
from tests.flows.harness import priced, world

from patina.billing.pricing import cost_of
from patina.engine.estimate import MESSAGE_TOKENS
from patina.model.chat import Finished, TextDelta
from patina.model.money import Entry
from patina.model.usage import Usage
from patina.providers.scripted import Step

COUNTED = Path(__file__).parent / "fixtures" / "usage" / "counted.json"
GPT = priced("1.75", "14")
MISSING = 4
"""Every so many answers come without usage."""


@pytest.mark.anyio
async def test_a_bill_with_gaps_is_right_within_one_percent() -> None:  # M-34
    turns = json.loads(COUNTED.read_text(encoding="utf-8"))
    replies: list[list[Step]] = []
    real: list[Usage] = []
    before = 0
    for number, turn in enumerate(turns, 1):
        sent = before + turn["question_tokens"] + MESSAGE_TOKENS
        used = Usage(sent, turn["answer_tokens"])
        before = sent + turn["answer_tokens"] + MESSAGE_TOKENS
        real.append(used)
        told = None if number % MISSING == 0 else used
        replies.append([TextDelta(turn["answer"]), Finished("stop", usage=told)])
    found: list[Entry] = []

    def take(entries: Sequence[Entry]) -> None:
        found.extend(entries)

    async with world(*replies, prices={"fake/one": GPT}) as w:
        conversation = None
        for turn in turns:
            conversation = w.send(turn["question"], conversation)
            await w.turn(conversation)
        await w.services.meter.entries(take)
    assert [line.estimated for line in found] == [n % MISSING == 0 for n in range(1, 26)]
    missing = [number for number, line in enumerate(found) if line.estimated]
    for numbers in (range(len(found)), missing):
        true = sum((cost_of(real[n], GPT) or Decimal(0) for n in numbers), Decimal(0))
        booked = sum((found[n].cost or Decimal(0) for n in numbers), Decimal(0))
        assert abs(booked / true - 1) <= Decimal("0.01"), (booked, true)

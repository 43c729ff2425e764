"""How far off a bill is where providers do not say what was used.

The conversation is in `fixtures/usage/counted.json`, with the tokens that o200k_base, the encoding
of OpenAI's models, makes of each text.
"""

import json
from decimal import Decimal
from pathlib import Path

from patina.billing.pricing import cost_of
from patina.engine.estimate import MESSAGE_TOKENS, calibration, text_tokens
from patina.model.money import Step, Tariff
from patina.model.usage import Usage

COUNTED = Path(__file__).parent / "fixtures" / "usage" / "counted.json"
GPT = Tariff(input=(Step(0, Decimal("1.75")),), output=(Step(0, Decimal(14)),))
MISSING = 4
"""Every so many answers come without usage."""


def cost(sent: float, received: float) -> Decimal:
    amount = cost_of(Usage(round(sent), round(received)), GPT)
    assert amount is not None
    return amount


def off(told: Decimal, real: Decimal) -> Decimal:
    return abs(told / real - 1)


def test_a_bill_with_gaps_is_right_within_one_percent() -> None:  # M-34
    """A quarter of the requests is estimated: by the rule alone, and with what earlier requests
    taught of the model's own count.
    """
    turns = json.loads(COUNTED.read_text(encoding="utf-8"))
    zero = Decimal(0)
    real_whole, told_whole, real_missing, told_missing = zero, zero, zero, zero
    real_before = estimated_before = 0.0
    factor = 1.0
    for number, turn in enumerate(turns, 1):
        sent = real_before + turn["question_tokens"] + MESSAGE_TOKENS
        estimated = estimated_before + text_tokens(turn["question"]) + MESSAGE_TOKENS
        answer = text_tokens(turn["answer"])
        real = told = cost(sent, turn["answer_tokens"])
        if number % MISSING == 0:
            told = cost(estimated * factor, answer)
            real_missing += real
            told_missing += cost(estimated * factor, answer * factor)
        else:
            factor = calibration(round(sent), estimated)
        real_whole += real
        told_whole += told
        real_before = sent + turn["answer_tokens"] + MESSAGE_TOKENS
        estimated_before = estimated + answer + MESSAGE_TOKENS
    assert off(told_whole, real_whole) <= Decimal("0.01")
    assert off(told_missing, real_missing) <= Decimal("0.01")

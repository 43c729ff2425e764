"""The section on money in `docs/transcripts.md` is true."""

import re
from pathlib import Path
from typing import get_args

from patina.model.items import Item
from patina.model.money import LimitKind, Outcome, Purpose
from patina.store.money.book import LOCK_WAIT
from patina.store.money.lines import AnyLine, decode, encode
from patina.store.money.units import MOST

ROOT = Path(__file__).parents[3]
DOC = (ROOT / "docs" / "transcripts.md").read_text("utf-8")
MONEY = DOC.split("\n## Money\n")[1].split("\n## ")[0]


def test_every_kind_is_described_with_its_keys() -> None:
    described = {}
    for section in MONEY.split("\n### ")[1:]:
        name, _, body = section.partition("\n")
        described[name.strip("`")] = set(re.findall(r"^\| `([a-z_]+)` \|", body, re.MULTILINE))
    common = set(Item.__struct_fields__)
    written = {
        str(kind.__struct_config__.tag): set(kind.__struct_fields__) - common
        for kind in AnyLine.__args__
    }
    assert described == written


def test_every_value_of_a_choice_is_named() -> None:
    named = set(re.findall("`([a-z_]+)`", MONEY))
    for choice in (Purpose, LimitKind, Outcome):
        assert set(get_args(choice)) - {"held"} <= named


def test_examples_are_sound_lines() -> None:
    (examples,) = re.findall(r"```json\n(.*?)```", MONEY, re.DOTALL)
    for example in examples.splitlines():
        line = decode(example.encode())
        assert line is not None
        assert encode(line) == f"{example}\n".encode()


def test_numbers_are_those_of_the_code() -> None:
    assert f"locked for {LOCK_WAIT:.0f} seconds" in MONEY
    assert f"more than {MOST:,} for one request" in MONEY

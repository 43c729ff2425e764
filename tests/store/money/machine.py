"""The ledger against a dictionary, step by step: `MoneyMachine` for hypothesis.

Two devices spend; their files are carried between them, their indexes deleted, their last lines
torn; time goes by. The model knows of each request what was held, how it ended and when its time
is over, and of each device which of that has reached it.
"""

import asyncio
import shutil
from decimal import Decimal
from pathlib import Path

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from msgspec import Struct
from tests.store.money.making import TIMEOUT, Now, ended, files, limit, opened
from tests.store.ram import ram_folder
from tests.store.talk import Hurried

from patina.model.money import Hold
from patina.ports.ledger import OverLimit
from patina.store.money.ledger import FileLedger
from patina.store.verify import verify

devices = st.integers(0, 1)
indexes = st.integers(0, 1 << 16)
cents = st.integers(0, 60)
LIMIT = Decimal(1)


class Known(Struct, frozen=True):
    """What a device knows of a request. `cost` None: it is open, or lost once its time is over.

    Of several ends the one with the highest `revision` counts, then the one written last.
    """

    hold: Hold
    over: str
    revision: tuple[int, int] = (0, 0)
    cost: Decimal | None = None
    void: bool = False


class Device:
    """One device: its folder, its ledger, and what the model says that it knows."""

    def __init__(self, home: Path, name: str, now: Now) -> None:
        self.home = home
        self.name = name
        self.now = now
        self.ledger = self.open()
        self.knows: dict[str, Known] = {}

    def open(self) -> FileLedger:
        return opened(self.home, self.now, self.name, files=Hurried())


class MoneyMachine(RuleBasedStateMachine):
    """The rules are what people and machines do; the invariants what must always hold."""

    def __init__(self) -> None:
        super().__init__()
        self.room = ram_folder()
        home = self.room.__enter__()
        self.runner = asyncio.Runner()
        self.now = Now()
        self.settled = 0
        self.devices = [Device(home / name, name, self.now) for name in ("0000000a", "0000000b")]

    def teardown(self) -> None:
        for device in self.devices:
            self.runner.run(device.ledger.aclose())
        self.runner.close()
        self.room.__exit__(None, None, None)

    def used(self, device: Device, day: str) -> tuple[Decimal, Decimal]:
        """What the model says is spent and held on a day."""
        spent = held = Decimal(0)
        for known in device.knows.values():
            if known.hold.day != day or known.void:
                continue
            assert known.hold.amount is not None
            if known.cost is not None:
                spent += known.cost
            elif known.over < self.now():
                spent += known.hold.amount
            else:
                held += known.hold.amount
        return spent, held

    @rule(number=devices, amount=cents, room=st.booleans())
    def reserve(self, number: int, amount: int, room: bool) -> None:
        device = self.devices[number]
        hold = self.now.hold(f"{amount / 100:.2f}", conversation=f"c{amount % 3}")
        limits = [limit("day", str(LIMIT))] if room else []
        used = sum(self.used(device, hold.day))
        assert hold.amount is not None
        fits = not limits or not amount or used + hold.amount <= LIMIT
        try:
            self.runner.run(device.ledger.reserve(hold, limits))
        except OverLimit:
            assert not fits
            return
        assert fits
        device.knows[hold.id] = Known(hold=hold, over=hold.expires)

    @rule(number=devices, index=indexes, cost=cents, void=st.booleans())
    def settle(self, number: int, index: int, cost: int, void: bool) -> None:
        device = self.devices[number]
        if not device.knows:
            return
        known = sorted(device.knows.items())[index % len(device.knows)][1]
        outcome = "void" if void else "done"
        price = f"{cost / 100:.2f}"
        self.runner.run(device.ledger.settle(ended(known.hold, price, outcome=outcome)))
        self.settled += 1
        revision = (known.revision[0] + 1, self.settled)
        device.knows[known.hold.id] = Known(known.hold, known.over, revision, Decimal(price), void)

    @rule(minutes=st.sampled_from([1, 13, 60 * 24]))
    def wait(self, minutes: int) -> None:
        self.now.on(minutes=minutes)

    @rule(number=devices, how=st.sampled_from(["closed", "deleted", "rebuilt"]))
    def restart(self, number: int, how: str) -> None:
        device = self.devices[number]
        if how == "rebuilt":
            self.runner.run(device.ledger.rebuild())
            return
        self.runner.run(device.ledger.aclose())
        if how == "deleted":
            shutil.rmtree(device.home / f"state{device.name}", ignore_errors=True)
        device.ledger = device.open()

    @rule(number=devices, size=st.integers(1, 200))
    def crash(self, number: int, size: int) -> None:
        """A line is torn: one that nobody was told of."""
        device = self.devices[number]
        for path in files(device.home):
            if device.name in path.name:
                line = path.read_bytes().split(b"\n")[0]
                with path.open("ab") as file:
                    file.write(line[: min(size, len(line) - 1)])

    @rule(number=devices)
    def carry(self, number: int) -> None:
        """The files that a device has written reach the other one, whole."""
        source, target = self.devices[number], self.devices[1 - number]
        for path in files(source.home):
            if source.name in path.name:
                place = target.home / "data" / "usage" / path.name
                place.parent.mkdir(parents=True, exist_ok=True)
                draft = place.with_suffix(".tmp")
                draft.write_bytes(path.read_bytes())
                draft.replace(place)
        for request, known in source.knows.items():
            other = target.knows.get(request)
            if other is None or known.revision > other.revision:
                target.knows[request] = known

    @precondition(lambda self: any(device.knows for device in self.devices))
    @invariant()
    def all_is_as_the_model_says(self) -> None:
        for device in self.devices:
            for day in {known.hold.day for known in device.knows.values()}:
                limits = [limit("day"), limit("month"), limit("conversation", name="c1")]
                found = self.runner.run(device.ledger.standing(limits, day))
                assert (found[0].spent, found[0].held) == self.used(device, day)
            entries: list[str] = []
            self.runner.run(device.ledger.entries(lambda page: entries.extend(e.id for e in page)))  # noqa: B023
            assert sorted(entries) == sorted(device.knows)
            sums = self.runner.run(device.ledger.sums("conversation"))
            days = self.runner.run(device.ledger.sums("day"))
            assert sum(each.cost for each in sums) == sum(each.cost for each in days)
            assert {each.key: each.cost for each in days if each.cost} == self.by_day(device)
            assert not [d for d in verify(device.home / "data").damaged if not d.line]

    def by_day(self, device: Device) -> dict[str, Decimal]:
        days = {known.hold.day for known in device.knows.values()}
        spent = {day: self.used(device, day)[0] for day in days}
        return {day: cost for day, cost in spent.items() if cost}


assert TIMEOUT.total_seconds() < 13 * 60

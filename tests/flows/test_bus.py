"""Bounded queues with a stated answer to overflow."""

import anyio
import msgspec
import pytest

from patina.engine.bus import Bus
from patina.engine.clock import ManualClock
from patina.model import events, items
from patina.model.events import AnyEvent


def note(text: str) -> events.NoteAdded:
    return events.NoteAdded(item=items.Note(id=text, ts="t", level="info", text=text))


def delta(text: str, item_id: str = "m", index: int = 0) -> events.TextDelta:
    return events.TextDelta(conversation="c", item_id=item_id, text=text, index=index)


def drain(bus: Bus, *published: AnyEvent, bound: int = 10) -> list[AnyEvent]:
    with bus.subscribe(bound=bound) as reader:
        for event in published:
            bus.publish(event)
        return list(iter(reader.take_nowait, None))


def bus() -> Bus:
    return Bus(ManualClock())


def test_deltas_of_one_part_are_merged_while_they_wait() -> None:
    first, after, other = drain(bus(), delta("a"), delta("b"), delta("c"), note("n"), delta("d"))
    assert isinstance(first, events.TextDelta)
    assert (first.text, first.seq) == ("abc", 1)
    assert isinstance(after, events.NoteAdded)
    assert isinstance(other, events.TextDelta)
    assert other.text == "d"


def test_deltas_of_different_parts_are_not() -> None:
    taken = drain(bus(), delta("a"), delta("b", index=1), delta("c", "other"))
    assert [event.text for event in taken] == ["a", "b", "c"]  # type: ignore[union-attr]


def test_interleaved_answers_are_merged_each_with_its_own() -> None:
    taken = drain(bus(), *[delta(str(n % 2), item_id=str(n % 2)) for n in range(5000)])
    assert [event.text for event in taken] == ["0" * 2500, "1" * 2500]  # type: ignore[union-attr]
    assert [event.seq for event in taken] == [1, 2]


def test_deltas_are_given_away_before_items() -> None:
    notes = [note(str(n)) for n in range(9)]
    taken = drain(bus(), *notes[:5], delta("a"), *notes[5:], bound=9)
    assert [event.seq for event in taken] == [1, 2, 3, 4, 5, 7, 8, 9, 10]


def test_a_resync_says_which_turns_still_run() -> None:
    shared = bus()
    started = events.TurnStarted(turn_id="t", provider="p", model="m")
    with shared.subscribe(bound=3) as reader:
        for name in ("runs", "ended"):
            shared.publish(msgspec.structs.replace(started, conversation=name))
        shared.publish(events.TurnEnded(conversation="ended", turn_id="t", stop_reason="stop"))
        for n in range(5):
            shared.publish(note(str(n)))
        resync = reader.take_nowait()
    assert isinstance(resync, events.Resync)
    assert resync.running == ("runs",)
    assert resync.seq
    assert resync.ts


def test_who_has_left_hears_nothing_more() -> None:
    shared = bus()
    with shared.subscribe() as reader:
        pass
    shared.publish(note("late"))
    assert reader.take_nowait() is None


def test_merging_for_a_slow_reader_does_not_touch_the_event_of_a_fast_one() -> None:
    shared = bus()
    with shared.subscribe() as fast, shared.subscribe() as slow:
        shared.publish(delta("a"))
        taken = fast.take_nowait()
        shared.publish(delta("b"))
        merged = slow.take_nowait()
    assert isinstance(taken, events.TextDelta)
    assert isinstance(merged, events.TextDelta)
    assert (taken.text, merged.text) == ("a", "ab")


def test_a_reader_that_falls_behind_is_told_to_read_the_journal_again() -> None:
    resync, *rest = drain(bus(), *[note(str(n)) for n in range(12)], bound=10)
    assert isinstance(resync, events.Resync)
    assert resync.dropped == 10
    assert [event.seq for event in rest] == [11, 12]


def test_a_writer_never_waits_and_memory_stays_bounded() -> None:
    shared = bus()
    with shared.subscribe(bound=10) as reader:
        for n in range(10_000):
            shared.publish(note(str(n)))
        taken = list(iter(reader.take_nowait, None))
    assert len(taken) <= 11
    assert isinstance(taken[0], events.Resync)
    told = sum(event.dropped for event in taken if isinstance(event, events.Resync))
    assert told + sum(isinstance(event, events.NoteAdded) for event in taken) == 10_000


@pytest.mark.anyio
async def test_a_waiting_reader_wakes_and_ends() -> None:
    shared = bus()
    heard: list[AnyEvent] = []

    async def listen() -> None:
        with shared.subscribe() as reader:
            ready.set()
            async for event in reader:
                heard.append(event)
                if len(heard) == 2:
                    return

    ready = anyio.Event()
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(listen)
            await ready.wait()
            shared.publish(note("1"))
            await anyio.lowlevel.checkpoint()
            shared.publish(note("2"))
    assert len(heard) == 2

"""Nothing can be said or written that the durability table and the codec do not know."""

from types import ModuleType, UnionType
from typing import get_args

import msgspec
import pytest

from patina.model import commands, durable, events, items


def concrete(module: ModuleType, base: type) -> set[type]:
    """All types of `module` under `base` that have a tag of their own."""
    return {
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, base) and value is not base
    }


@pytest.mark.parametrize(
    ("module", "base", "union"),
    [
        (events, events.Event, events.AnyEvent),
        (items, items.Item, items.AnyItem),
        (commands, commands.Command, commands.AnyCommand),
    ],
)
def test_unions_are_complete(module: ModuleType, base: type, union: UnionType) -> None:
    assert set(get_args(union)) == concrete(module, base)
    tags = [msgspec.inspect.type_info(kind).tag for kind in get_args(union)]  # type: ignore[attr-defined]
    assert len(tags) == len(set(tags))


def test_every_event_is_durable_or_live() -> None:
    listed = set(durable.DURABLE) | durable.LIVE_ONLY
    assert listed == concrete(events, events.Event)
    assert not set(durable.DURABLE) & durable.LIVE_ONLY


def test_every_item_is_told_once_or_silent() -> None:
    told = list(durable.DURABLE.values())
    assert len(told) == len(set(told))
    assert set(told) == set(get_args(events.DurableItem))
    assert set(told) | durable.SILENT_ITEMS == concrete(items, items.Item)
    assert not set(told) & durable.SILENT_ITEMS


def test_durable_events_carry_their_item() -> None:
    for event, item in durable.DURABLE.items():
        assert {field.name: field.type for field in msgspec.structs.fields(event)}["item"] is item


def test_only_silent_items_may_be_lost() -> None:
    assert durable.UNSYNCED_ITEMS <= durable.SILENT_ITEMS


def test_an_unlisted_event_is_refused() -> None:
    class Stray(events.Event, kw_only=True, tag="stray"):
        """Stands in no table."""

    with pytest.raises(KeyError, match="Stray"):
        durable.is_durable(Stray)

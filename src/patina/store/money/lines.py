"""The lines of the ledger's files (`docs/transcripts.md`, Money)."""

from decimal import Decimal
from typing import Final

import msgspec

from patina.model.codec import FORMAT, MAX_LINE, DamagedLineError, encode_line, unseal
from patina.model.faults import StoreFault
from patina.model.ids import new_id
from patina.model.items import Item
from patina.model.money import Entry, Hold, Limit
from patina.model.usage import Usage

_DAY_LENGTH: Final = len("2026-11-22")


class HoldLine(Item, frozen=True, kw_only=True, tag="hold"):
    """Money is reserved; `id` is the request's, `ts` when it was. See `Hold`."""

    day: str
    expires: str
    provider: str
    model: str
    purpose: str
    amount: Decimal | None = None
    conversation: str = ""
    turn: str = ""
    server: str = ""
    run: str = ""
    source: str = ""
    price_date: str = ""


class SettleLine(Item, frozen=True, kw_only=True, tag="settle"):
    """How the request `hold` ended. See `Entry`; all of it, should the line of its hold be lost.

    Of several the one with the highest `rev` counts, then the highest id.
    """

    hold: str
    at: str
    day: str
    provider: str
    model: str
    purpose: str
    outcome: str
    rev: int = 1
    usage: Usage = Usage()
    cost: Decimal | None = None
    estimated: bool = False
    held: Decimal | None = None
    conversation: str = ""
    turn: str = ""
    server: str = ""
    run: str = ""
    source: str = ""
    price_date: str = ""
    tier: str = ""
    first_token_ms: int | None = None
    duration_ms: int = 0


class ToldLine(Item, frozen=True, kw_only=True, tag="told"):
    """The user was told that `share` of a limit is used in `period`."""

    kind: str
    amount: Decimal
    share: Decimal
    name: str = ""
    period: str = ""


AnyLine = HoldLine | SettleLine | ToldLine

_lines: msgspec.json.Decoder[AnyLine] = msgspec.json.Decoder(AnyLine)


def hold_line(hold: Hold, device: str) -> HoldLine:
    """Return the line of a hold. Raises `ValueError` for a day that is none."""
    return HoldLine(
        id=hold.id,
        ts=hold.at,
        device=device,
        day=check_day(hold.day),
        expires=hold.expires,
        provider=hold.provider,
        model=hold.model,
        purpose=hold.purpose,
        amount=hold.amount,
        conversation=hold.conversation,
        turn=hold.turn,
        server=hold.server,
        run=hold.run,
        source=hold.source,
        price_date=hold.price_date,
    )


def settle_line(entry: Entry, rev: int, ts: str, device: str) -> SettleLine:
    """Return the line of how a hold ended. Raises `ValueError` for a day that is none."""
    check_day(entry.day)
    values = {name: getattr(entry, name) for name in entry.__struct_fields__ if name != "id"}
    return SettleLine(id=new_id(), ts=ts, device=device, hold=entry.id, rev=rev, **values)


def told_line(limit: Limit, period: str, share: Decimal, ts: str, device: str) -> ToldLine:
    """Return the line of a warning."""
    return ToldLine(
        id=new_id(),
        ts=ts,
        device=device,
        kind=limit.kind,
        name=limit.name,
        amount=limit.amount,
        period=period,
        share=share,
    )


def check_day(day: str) -> str:
    """Return `day` if it is YYYY-MM-DD: its month names a file. Raises `ValueError`."""
    if not _is_day(day):
        raise ValueError(f"{day[:40]!r} is no day")
    return day


def encode(line: AnyLine) -> bytes:
    """Return `line` with its newline. Raises `StoreFault` for what no line can hold."""
    try:
        return encode_line(line)
    except UnicodeEncodeError as error:
        raise StoreFault(
            "The name of a model or provider holds half a character, so its cost was not saved.",
            hint="Correct the name in the configuration.",
        ) from error
    except ValueError as error:
        raise StoreFault(
            f"What a request costs could not be saved: {error}.",
            hint="Shorten the name of the model or provider in the configuration.",
        ) from error


def decode(line: bytes) -> AnyLine | None:
    """Return what a line says; None where it is damaged, or of a kind or format not known here."""
    if len(line) > MAX_LINE:
        return None
    try:
        found = _lines.decode(unseal(line.rstrip(b"\r\n")))
    except (DamagedLineError, msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return None
    if found.v > FORMAT:
        return None
    if isinstance(found, ToldLine) or _is_day(found.day):
        return found
    return None


def _is_day(text: str) -> bool:
    """Whether `text` is YYYY-MM-DD, with a month and a day that there are."""
    digits = text[:4] + text[5:7] + text[8:]
    return (
        len(text) == _DAY_LENGTH
        and text[4] == text[7] == "-"
        and digits.isascii()
        and digits.isdecimal()
        and "01" <= text[5:7] <= "12"
        and "01" <= text[8:] <= "31"
        and text[:4] > "0000"
    )

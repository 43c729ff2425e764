"""Identifiers. Every durable thing has a UUID version 7, so ids sort by the time they were made."""

import os
import re
import threading
import time
from datetime import UTC, datetime, timedelta

_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
# The first 12 digits of an id made when the year 10000 begins: no system's calendar goes that far.
_END = "e677d21f-dc00"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_lock = threading.Lock()
_last = 0


def new_id() -> str:
    """Return a new UUID version 7 (RFC 9562, section 5.7) in its lower-case text form.

    Ids made by one process strictly ascend, also within one millisecond: the 12 bits after the
    version count up, and borrow from the clock when they overflow.
    """
    global _last  # noqa: PLW0603 - one counter for the process is what makes the ids ascend
    with _lock:
        stamp = max((time.time_ns() // 1_000_000) << 12, _last + 1)
        _last = stamp
    tail = int.from_bytes(os.urandom(8), "big") & 0x3FFF_FFFF_FFFF_FFFF | 0x8000_0000_0000_0000
    text = f"{stamp >> 12:012x}7{stamp & 0xFFF:03x}{tail:016x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def is_id(text: str) -> bool:
    """Whether `text` is a whole UUID version 7 in lower case, of a time before the year 10000."""
    return _ID.fullmatch(text) is not None and text < _END


def id_month(identifier: str) -> tuple[int, int]:
    """Return the UTC (year, month) in which an id was made."""
    # Not `time.gmtime`, which ends with the year 3000 on Windows.
    moment = _EPOCH + timedelta(milliseconds=int(identifier.replace("-", "")[:12], 16))
    return moment.year, moment.month

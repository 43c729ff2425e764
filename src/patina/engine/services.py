"""What the engine is built from."""

from msgspec import Struct

from patina.engine.bus import Bus
from patina.model.settings import ChatSettings
from patina.ports.clock import Clock
from patina.ports.journal import Journal
from patina.ports.meter import Meter
from patina.ports.permission import Gate
from patina.ports.provider import Providers
from patina.ports.tools import Tools


class Services(Struct, frozen=True, kw_only=True):
    """The ports, the bus, and the bounds of a turn. `device` is stamped on every item."""

    journal: Journal
    providers: Providers
    tools: Tools
    gate: Gate
    meter: Meter
    clock: Clock
    bus: Bus
    chat: ChatSettings = ChatSettings()
    device: str = ""
    app: str = ""

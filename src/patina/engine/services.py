"""What the engine is built from."""

from collections.abc import Awaitable, Callable, Mapping, Sequence

from msgspec import Struct

from patina.engine.bus import Bus
from patina.model.chat import ModelInfo
from patina.model.masking import Mask
from patina.model.settings import ChatSettings, ServerSettings
from patina.ports.clock import Clock
from patina.ports.drafts import Drafts
from patina.ports.features import Features
from patina.ports.journal import Journal
from patina.ports.meter import Meter
from patina.ports.permission import Gate, RuleWriter
from patina.ports.provider import Providers
from patina.ports.tools import Tools


async def no_models() -> Sequence[ModelInfo]:
    """Say that nobody knows which models there are."""
    return ()


def somebody() -> bool:
    """Say that somebody is there."""
    return True


class Services(Struct, frozen=True, kw_only=True):
    """The ports, the bus, and the bounds of a turn. `device` is stamped on every item.

    `titles` says whether conversations get one by themselves: only where the engine lives on after
    an answer, and the user wants it; providers in `untitled` are not asked. `features` is what
    servers offer beside tools (None: nothing). `rules` keeps the rules that "always" makes (None:
    nobody does). `watch` is the number of seconds after which it looks again for what other
    processes wrote, 0 for never. `servers` returns the settings of the servers as they are now;
    `models` the models of the providers that can be used, within two seconds or so, and never
    raises. `present` says whether a person may answer what is asked in a turn.
    """

    journal: Journal
    drafts: Drafts
    providers: Providers
    tools: Tools
    features: Features | None = None
    gate: Gate
    rules: RuleWriter | None = None
    meter: Meter
    clock: Clock
    bus: Bus
    chat: ChatSettings = ChatSettings()
    device: str = ""
    app: str = ""
    titles: bool = False
    untitled: tuple[str, ...] = ()
    watch: float = 0.0
    servers: Callable[[], Mapping[str, ServerSettings]] = dict
    models: Callable[[], Awaitable[Sequence[ModelInfo]]] = no_models
    present: Callable[[], bool] = somebody

    @property
    def mask(self) -> Mask:
        """Masks secrets in what is stored, and in what is sent to a model."""
        return self.bus.mask

"""The money gate of an app, with the settings as they are now."""

from collections.abc import Callable

from patina.billing.meter import LedgerMeter
from patina.model.events import LimitReached, LimitWarned
from patina.model.settings import BillingSettings, Settings
from patina.ports.clock import Clock
from patina.ports.ledger import Ledger
from patina.ports.tariffs import Tariffs


class Money:
    """Makes `meter` of its parts. Without `kept` conversations, its lines name none."""

    def __init__(
        self,
        ledger: Ledger,
        tariffs: Tariffs,
        clock: Clock,
        billing: BillingSettings,
        tell: Callable[[LimitWarned | LimitReached], None],
        *,
        kept: bool,
    ) -> None:
        self._billing = billing
        self.meter = LedgerMeter(
            ledger, tariffs, clock, lambda: self._billing, tell=tell, kept=kept
        )

    def follow(self, settings: Settings) -> None:
        """Put the limits of `settings`, which were just read, in force."""
        self._billing = settings.billing

"""What models cost."""

from typing import Protocol

from patina.model.chat import ModelRef
from patina.model.money import Tariff


class Tariffs(Protocol):
    """Prices by model: the user's, else the provider's own list, else the list that comes along."""

    async def tariff(self, model: ModelRef) -> Tariff:
        """Return what `model` costs now. Not `known` where nobody says.

        Never asks the network and never raises. Takes a millisecond or two, but for the first time
        after an installation, when the list is made.
        """

"""What the next message of a conversation would cost, for every front end."""

from decimal import Decimal

from patina.assembly.app import App
from patina.billing.pricing import cost_of
from patina.engine import quoting
from patina.engine.quoting import Draft, Next
from patina.engine.server_share import server_shares as tokens_by_server
from patina.model.money import Tariff
from patina.model.usage import Usage
from patina.views.money import ServerCost

__all__ = ["Draft", "Next", "draft_of", "server_shares"]


async def draft_of(app: App, asked: Next) -> Draft:
    """Return the request that the next message would make now. No provider is asked anything.

    Raises `Fault`s.
    """
    return await quoting.draft_of(app.services, asked)


def server_shares(draft: Draft, whole: int, tariff: Tariff) -> list[ServerCost]:
    """Return what each server's tools and results add to a request of `whole` tokens."""
    shares = tokens_by_server(draft.told.tools, draft.tree, draft.seen)
    return [
        ServerCost(
            server=server,
            schemas=schemas,
            results=results,
            schemas_cost=_share(schemas, whole, tariff),
            results_cost=_share(results, whole, tariff),
            local=tariff.local,
        )
        for server, (schemas, results) in shares.items()
    ]


def _share(tokens: int, whole: int, tariff: Tariff) -> Decimal | None:
    """Return what a request of `whole` tokens would cost less without some of them."""
    full, rest = cost_of(Usage(whole), tariff), cost_of(Usage(max(whole - tokens, 0)), tariff)
    return None if full is None or rest is None else full - rest

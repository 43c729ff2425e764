"""What each server takes of a request: its tools' schemas, and the results it gave."""

import pytest
from tests.flows.harness import calls, fake_tools, says, world

from patina.engine.estimate import server_costs, text_tokens
from patina.engine.server_share import server_shares
from patina.model.settings import PermissionRule, PermissionSettings
from patina.model.tree import Tree
from patina.permission.gate import PolicyGate

pytestmark = pytest.mark.anyio
ALLOW = PolicyGate(PermissionSettings(rules=(PermissionRule(action="allow"),)))


async def test_schemas_and_results_by_server() -> None:
    result = "a line of a long result\n" * 50
    tools = fake_tools(lambda _: result)
    call = calls(("c1", "github__search", "{}"), ("c2", "github__search", '{"query": "x"}'))
    async with world(call, says("done"), tools=tools, gate=ALLOW) as w:
        conversation = w.send("Find it")
        await w.turn(conversation)
        listed = await tools.list(None)
        shares = server_shares(listed, await w.tree(conversation))
        assert shares == {
            "github": (server_costs(listed)["github"], round(2 * text_tokens(result)))
        }
        # Without tools the results stay; in a new conversation there are none.
        assert server_shares((), await w.tree(conversation))["github"][0] == 0
        assert server_shares(listed, Tree())["github"][1] == 0

"""What each MCP server takes of a request: the schemas of its tools, and the results they gave."""

from collections.abc import Iterable

from patina.engine.estimate import FILE_TOKENS, IMAGE_TOKENS, server_costs, text_tokens
from patina.engine.excerpts import Seen, results_of
from patina.model.chat import ToolInfo
from patina.model.parts import Image, Text
from patina.model.tree import Tree


def server_shares(
    tools: Iterable[ToolInfo], tree: Tree, seen: Seen | None = None
) -> dict[str, tuple[int, int]]:
    """Return, by server, about how many tokens each request has of the schemas of `tools`, and of
    the results on the active branch.

    `seen` says how large results are sent; without it they count as what the transcript has.
    """
    schemas = server_costs(tools)
    seen = seen or Seen()
    results: dict[str, float] = {}
    for result in results_of(tree, tree.unsummarised()[1]):
        tokens = 0.0
        for part in seen.parts(result):
            if isinstance(part, Text):
                tokens += text_tokens(part.text)
            else:
                tokens += IMAGE_TOKENS if isinstance(part, Image) else FILE_TOKENS
        results[result.server] = results.get(result.server, 0.0) + tokens
    return {
        server: (schemas.get(server, 0), round(results.get(server, 0.0)))
        for server in {**schemas, **results}
    }

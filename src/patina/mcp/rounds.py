"""Requests that end only after the server was told what it wants to know. Import it late.

A server of the newer era answers with what it asks, and the request is made again with the answers
(2026-07-28, "input required"). One of the older era may refuse a request until pages were visited,
and have it made again then (2025-11-25, error -32042).
"""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final, TypeVar

import anyio
import mcp_types as types
from mcp.client import ClientRequestContext
from pydantic import ValidationError

from mcp import MCPError
from patina.mcp.asking import asked_of
from patina.mcp.text import shortened, visible
from patina.mcp.visits import finished, visited
from patina.model.faults import McpFault

if TYPE_CHECKING:
    from patina.mcp.sdk import Session

MOST_ROUNDS: Final = 10
MOST_PAGES: Final = 3
# Between two rounds in which a server only wants to be asked again.
_PAUSES: Final = (0.05, 0.1, 0.2)
_LAST_PAUSE: Final = 0.25
_WORDS: Final = 500

R = TypeVar("R")
Ask = Callable[[types.InputResponses | None, str | None], Awaitable[R | types.InputRequiredResult]]


async def to_the_end(session: "Session", ask: Ask[R]) -> R:
    """Return what `ask` comes to, which makes a request with the answers and the state it is given.

    What the server asks goes to the call that is under way here, one after the other. Raises
    `McpFault` where it asks without an end, or for what it is not given; else as `ask`.
    """
    answers: types.InputResponses | None = None
    state: str | None = None
    opened: set[str] = set()
    for round_ in range(MOST_ROUNDS + 1):
        result = await _with_visits(session, ask, answers, state)
        if not isinstance(result, types.InputRequiredResult):
            return result
        answers, state = None, result.request_state
        if result.input_requests:
            answers = await _answers(session, result.input_requests, opened)
        else:
            await anyio.sleep(_PAUSES[round_] if round_ < len(_PAUSES) else _LAST_PAUSE)
    raise McpFault(f"it asked for more input over {MOST_ROUNDS} times")


async def _answers(
    session: "Session", requests: types.InputRequests, opened: set[str]
) -> types.InputResponses:
    """Return the answers. `opened` are the pages that a person agreed to visit, for this request.

    A server that asks for the same page again only waits for the end of the visit: the page is not
    opened twice.
    """
    answers: types.InputResponses = {}
    for key, request in requests.items():
        page = _page(request)
        dialog = session.calls.dialog()
        if page in opened and dialog is not None:
            over = await finished(dialog, anyio.Event())
            answers[key] = types.ElicitResult(action="accept" if over else "cancel")
            continue
        context = ClientRequestContext(session=session, request_id=key)
        response = await session.dispatch_input_request(context, request)
        if isinstance(response, types.ErrorData):
            said = shortened(visible(response.message), _WORDS)
            raise McpFault(f"it asked for what it is not given: {said}")
        answers[key] = response
        if page and isinstance(response, types.ElicitResult) and response.action == "accept":
            opened.add(page)
    return answers


def _page(request: types.InputRequest) -> str:
    """Return the page that a person is asked to visit, "" where it is something else."""
    params = request.params if isinstance(request, types.ElicitRequest) else None
    return params.url if isinstance(params, types.ElicitRequestURLParams) else ""


async def _with_visits(
    session: "Session", ask: Ask[R], answers: types.InputResponses | None, state: str | None
) -> R | types.InputRequiredResult:
    """Make the request; where pages have to be visited first, once more after that."""
    try:
        return await ask(answers, state)
    except MCPError as error:
        if error.code != types.URL_ELICITATION_REQUIRED:
            raise
        pages = _pages(error)
    await _visit_all(session, pages)
    return await ask(answers, state)


def _pages(error: MCPError) -> list[types.ElicitRequestURLParams]:
    try:
        given = types.ElicitationRequiredErrorData.model_validate(error.error.data, by_name=False)
    except ValidationError:
        raise error from None
    if not given.elicitations:
        raise error
    return given.elicitations[:MOST_PAGES]


async def _visit_all(session: "Session", pages: list[types.ElicitRequestURLParams]) -> None:
    """Have a person visit the pages. Raises `McpFault` where one is not visited."""
    dialog = session.calls.dialog()
    for page in pages:
        address = shortened(visible(page.url), _WORDS)
        if dialog is None:
            raise McpFault(f"a page has to be visited first, {address}", hint="Try again after.")
        with session.visit(page.elicitation_id) as done:
            if not await visited(dialog, asked_of(page), done):
                words = f"a page has to be visited first, {address}, and was not"
                raise McpFault(words, hint="Visit it and ask again.")

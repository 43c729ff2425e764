"""What a message would cost before it is sent: for `patina ask --estimate` and the chat."""

import sys
from collections.abc import Callable
from typing import Any

from patina.assembly.app import App
from patina.assembly.estimate import Draft, Next, draft_of
from patina.billing.limits import limit_words
from patina.cli.context import Context
from patina.cli.errors import show_failure
from patina.cli.output import print_json
from patina.cli.prompt import Prompt, Said, said_by
from patina.cli.result import cost_json
from patina.cli.running import run_app, setup_of
from patina.cli.signals import Signals
from patina.model.faults import EXIT_OK, Failure, LimitFault, UsageFault
from patina.model.money import Quote, Standing
from patina.model.usage import Cost
from patina.views.money import limit_word, quote_text
from patina.views.terminal_text import safe_line


def next_of(prompt: Prompt, conversation: str, said: Said | None = None) -> Next:
    """Return the message that `prompt` says; without `said` nothing is known of its words."""
    return Next(
        conversation=conversation,
        parts=said.parts if said is not None else (),
        before=said.before if said is not None else (),
        model=prompt.model,
        system=prompt.system,
        tools=prompt.tools,
        options=prompt.options,
    )


def run_estimate(
    run: Context, prompt: Callable[[], Prompt], approve: str, *, as_json: bool, save: bool
) -> int:
    """Print what a question would cost, send nothing, and return the exit code: that of a limit
    where one would stop it.
    """
    signals = Signals()

    async def body(app: App) -> int:
        conversation = await _conversation(app, asked)
        said = await said_by(app, asked, signals)
        draft = await draft_of(app, next_of(asked, conversation, said))
        quote = await app.meter.quote(draft.wanted)
        blocked = None if quote.blocked is None else _failure(quote.blocked)
        if as_json:
            print_json(_as_json(draft, quote, blocked))
        else:
            print(f"{safe_line(str(draft.model))}: {quote_text(quote)}")
        if blocked is None:
            return EXIT_OK
        if not as_json:
            sys.stdout.flush()
            show_failure(blocked, run)
        return LimitFault("").exit_code

    asked = prompt()
    return run_app(
        setup_of(run, approve, save=save), body, model=asked.model or "", signals=signals
    )


async def _conversation(app: App, prompt: Prompt) -> str:
    """Return the id of the conversation that is gone on with, "" for a new one."""
    if prompt.session or prompt.fork:
        return await app.journal.find(prompt.session or prompt.fork)
    if not prompt.last:
        return ""
    newest = await app.journal.list(limit=1, active=True)
    if not newest:
        raise UsageFault("There is no conversation to continue.", hint="Leave out -c.")
    return newest[0].conversation


def _failure(standing: Standing) -> Failure:
    text = f"It would not be sent: it could pass {limit_words(standing.limit)}."
    return LimitFault(text, hint="`patina limits show` shows how far it is used.").failure


def _as_json(draft: Draft, quote: Quote, blocked: Failure | None) -> dict[str, Any]:
    cost = None
    if quote.likely is not None:
        cost = Cost(quote.likely, quote.tariff.source, estimated=True)
    most = None if quote.most is None else Cost(quote.most, quote.tariff.source, estimated=True)
    standing = quote.blocked
    return {
        "provider": draft.model.provider,
        "model": draft.model.model,
        "usage": {"input_tokens": quote.input, "max_output_tokens": quote.max_tokens},
        "cost": cost_json(cost),
        "most": cost_json(most),
        "limit": standing and (limit_word(standing.limit) or standing.limit.kind),
        "error": blocked
        and {"kind": blocked.kind, "message": blocked.message, "hint": blocked.hint},
    }

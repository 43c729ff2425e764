"""`patina providers test`: one real request, small and metered as any other."""

from typing import TYPE_CHECKING, Any, Final

import click

from patina.cli.context import context
from patina.cli.output import print_json
from patina.model.faults import EXIT_OK, ProviderFault
from patina.views.terminal_text import safe_line, safe_text

if TYPE_CHECKING:
    from patina.assembly.app import App

TOKENS: Final = 64
PROMPT: Final = "Reply with one word: hello."
_SHOWN: Final = 60


@click.command("test")
@click.argument("model", metavar="NAME[/MODEL]")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def try_(ctx: click.Context, model: str, as_json: bool) -> int:
    """Send one small real request, and tell what came back. It may cost a fraction of a cent.

    Examples:
      patina providers test openai
      patina providers test groq/openai/gpt-oss-120b --json
    """
    from patina.cli.running import run_app, setup_of

    run = context(ctx)

    async def body(app: "App") -> dict[str, Any]:
        return await _tried(app, model)

    outcome = run_app(setup_of(run, save=False), body, model=model)
    if as_json:
        print_json(outcome)
        return EXIT_OK
    text = safe_line(outcome["text"])
    begin = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
    usage = outcome["usage"] or {}
    first = outcome["time_to_first_token_ms"]
    seconds = f"first token after {first / 1000:.2f} s" if first is not None else "no token"
    tokens = (
        f"{usage['input_tokens']} tokens in, {usage['output_tokens']} out"
        if usage
        else "no usage told"
    )
    line = f"ok  {outcome['answered_by']}: {begin or '(no text)'}\n    {seconds}, {tokens}"
    click.echo(safe_text(run.redactor(line)))
    return EXIT_OK


async def _tried(app: "App", name: str) -> dict[str, Any]:
    """Ask a model for a word, and return what came. Raises `Fault` where it cannot be asked."""
    from contextlib import aclosing

    from patina.engine.paying import Cause, paid, wanted_of
    from patina.model.chat import ChatMessage, ChatRequest, Failed, Finished, Retrying, TextDelta
    from patina.model.parts import Text

    ref = app.providers.resolve(name)
    driver = app.providers.driver(ref.provider)
    message = ChatMessage("user", (Text(PROMPT),))
    request = ChatRequest(
        model=ref.model,
        messages=(message,),
        max_tokens=TOKENS,
        effort=ref.effort,
        timeout=app.setup.configured.settings.chat.timeout,
    )
    wanted = wanted_of(request, ref, Cause(purpose="chat"), driver)
    end: Finished | Failed | None = None
    text, first = "", None
    began = app.clock.monotonic()
    async with (
        paid(app.services, wanted) as payment,
        aclosing(payment.stream(driver, request)) as stream,
    ):
        async for event in stream:
            if isinstance(event, Finished | Failed):
                end = event
            elif not isinstance(event, Retrying) and first is None:
                first = round((app.clock.monotonic() - began) * 1000)
            if isinstance(event, TextDelta):
                text += event.text
    if not isinstance(end, Finished):
        assert end is not None  # a stream ends in one of both
        raise ProviderFault.of(end.failure)
    return {
        "provider": ref.provider,
        "model": str(ref),
        "answered_by": end.model or ref.model,
        "text": text,
        "stop_reason": end.reason,
        "usage": _plain(end.usage),
        "cost": _plain(payment.cost),
        "time_to_first_token_ms": first,
        "duration_ms": round((app.clock.monotonic() - began) * 1000),
    }


def _plain(value: object) -> Any:  # noqa: ANN401 - plain data of a shape, or None
    import msgspec

    return msgspec.to_builtins(value)

"""`patina models`: the models that can be used now."""

import sys
from typing import Any

import anyio
import click

from patina.cli.context import context
from patina.cli.output import print_listing
from patina.model.faults import Fault
from patina.views.terminal_text import safe_text

LIST_SECONDS = 10.0


@click.command()
@click.argument("query", required=False, default="")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def models(ctx: click.Context, query: str, as_json: bool) -> int:
    r"""List the models of all usable providers whose name contains QUERY.

    A provider that does not answer is told on stderr; the exit code is 3 where none answers.

    \b
    Examples:
      patina models
      patina models gpt-5 --json
    """
    from patina.assembly.app import App
    from patina.cli.running import run_app, setup_of

    faults: list[Fault] = []

    async def body(app: App) -> list[dict[str, Any]]:
        found: dict[str, list[dict[str, Any]]] = {}

        async def listed(provider: str) -> None:
            try:
                with anyio.fail_after(LIST_SECONDS):
                    models = await app.providers.driver(provider).list_models()
            except Fault as fault:
                faults.append(fault)
            except TimeoutError:
                faults.append(_silent(provider))
            else:
                found[provider] = [_row(info.provider, info.model, info) for info in models]

        providers = app.providers.available()
        async with anyio.create_task_group() as tasks:
            for provider in providers:
                tasks.start_soon(listed, provider)
        return [row for provider in providers for row in found.get(provider, ())]

    rows = run_app(setup_of(context(ctx)), body)
    rows = [row for row in rows if query.lower() in row["model"].lower()]
    columns = {"model": "MODEL", "context_window": "CONTEXT"}
    print_listing(rows, columns, as_json=as_json, empty="No model matches.")
    for fault in faults:
        print(safe_text(f"patina: {fault}"), file=sys.stderr)
    return faults[0].exit_code if faults and not rows else 0


def _row(provider: str, model: str, info: Any) -> dict[str, Any]:  # noqa: ANN401 - a ModelInfo
    name = model if model.startswith(f"{provider}/") else f"{provider}/{model}"
    return {
        "model": name,
        "provider": provider,
        "context_window": info.context_window,
        "max_output": info.max_output,
    }


def _silent(provider: str) -> Fault:
    from patina.model.faults import ProviderFault

    return ProviderFault(
        f"{provider} did not list its models within {LIST_SECONDS:g} s.", kind="timeout"
    )

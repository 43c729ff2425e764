"""`patina models`: the models that can be used now."""

from typing import TYPE_CHECKING, Any

import anyio
import click

from patina.cli.context import context
from patina.cli.errors import show_failure
from patina.cli.output import print_listing
from patina.model.faults import Fault, ProviderFault

if TYPE_CHECKING:
    from patina.assembly.app import App
    from patina.model.chat import ModelInfo

LIST_SECONDS = 10.0


@click.command()
@click.argument("query", required=False, default="")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def models(ctx: click.Context, query: str, as_json: bool) -> None:
    r"""List the models of all usable providers whose name contains QUERY.

    A provider that does not answer is told on stderr; the exit code is 3 where none answers.

    \b
    Examples:
      patina models
      patina models gpt-5 --json
    """
    from patina.cli.running import run_app, setup_of

    faults: list[Fault] = []
    run = context(ctx)

    async def body(app: "App") -> list[dict[str, Any]]:
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
                found[provider] = [_row(app, info) for info in models]

        providers = app.providers.available()
        async with anyio.create_task_group() as tasks:
            for provider in providers:
                tasks.start_soon(listed, provider)
        return [row for provider in providers for row in found.get(provider, ())]

    rows = run_app(setup_of(run, save=False), body)
    rows = [row for row in rows if query.lower() in row["model"].lower()]
    for fault in faults if rows else faults[1:]:
        show_failure(fault.failure, run)
    if faults and not rows:
        raise faults[0]
    columns = {"model": "MODEL", "context_window": "CONTEXT"}
    empty = "No model matches. `patina doctor` says what is missing."
    print_listing(rows, columns, as_json=as_json, empty=empty)


def _row(app: "App", info: "ModelInfo") -> dict[str, Any]:
    provider = app.setup.configured.settings.providers.get(info.provider)
    own = provider.models.get(info.model) if provider else None
    return {
        "model": f"{info.provider}/{info.model}",
        "provider": info.provider,
        "context_window": (own and own.context_window) or info.context_window,
        "max_output": (own and own.max_output) or info.max_output,
    }


def _silent(provider: str) -> Fault:
    return ProviderFault(
        f"{provider} did not list its models within {LIST_SECONDS:g} s.", kind="timeout"
    )

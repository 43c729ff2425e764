"""`patina keys`: keep secrets. A value never appears in arguments or output."""

import sys
from typing import Any

import click

from patina.cli.context import Context, context
from patina.cli.output import print_listing
from patina.model.faults import UsageFault

MAX_SECRET = 64_000


@click.group()
def keys() -> None:
    """Keep API keys and other secrets.

    Examples:
      patina keys set openai
      patina keys list
    """


@keys.command("set")
@click.argument("name")
@click.pass_context
def set_(ctx: click.Context, name: str) -> None:
    """Keep a secret as NAME; it is typed at a prompt or piped in.

    A secret named like a provider is that provider's key. Others are used by reference:
    secret:NAME in the configuration.

    Examples:
      patina keys set openai
      pass show github | patina keys set github/GITHUB_TOKEN
    """
    from patina.secrets.file import check_name

    check_name(name)
    context(ctx).keys.set(name, _read_secret(name))


@keys.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def list_(ctx: click.Context, as_json: bool) -> None:
    """List the names of secrets and where they are, never their values.

    Example:
      patina keys list --json
    """
    columns = {"name": "NAME", "source": "SOURCE", "where": "WHERE"}
    empty = "No keys. Keep one with `patina keys set NAME`."
    print_listing(_rows(context(ctx)), columns, as_json=as_json, empty=empty)


@keys.command()
@click.argument("name")
@click.pass_context
def remove(ctx: click.Context, name: str) -> None:
    """Forget the secret NAME.

    Example:
      patina keys remove openai
    """
    if not context(ctx).keys.remove(name):
        raise UsageFault(
            f'There is no kept secret "{name}".', hint="`patina keys list` shows the names."
        )


def _rows(run: Context) -> list[dict[str, Any]]:
    from patina.config.overlay import KINDS

    where = str(run.paths.secrets_file)
    rows = [{"name": name, "source": "file", "where": where} for name in run.keys.names()]
    for variables in KINDS.values():
        source = run.environment.source(variables.key)
        if source is not None:
            rows.append({"name": variables.key, "source": source.kind, "where": source.where})
    return rows


def _read_secret(name: str) -> str:
    if sys.stdin is not None and sys.stdin.isatty():
        secret: str = click.prompt(f"Value of {name}", hide_input=True, err=True)
    else:
        secret = sys.stdin.read(MAX_SECRET + 1) if sys.stdin is not None else ""
    secret = secret.strip()
    if not secret:
        raise UsageFault(
            f"No value for {name} came in.", hint="Type it at the prompt, or pipe it in."
        )
    if len(secret) > MAX_SECRET:
        raise UsageFault(f"The value is over {MAX_SECRET} characters.")
    return secret

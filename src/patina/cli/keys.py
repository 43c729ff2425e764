"""`patina keys`: keep secrets. A value never appears in arguments or output."""

import re
import sys
from typing import Any

import click

from patina.cli.context import Context, context
from patina.cli.keys_home import protect, rotate, status
from patina.cli.output import print_listing
from patina.config.keys import join_key
from patina.model.faults import Fault, ProviderFault, UsageFault
from patina.views.terminal_text import safe_text

MAX_SECRET = 64_000
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@click.group()
def keys() -> None:
    """Keep API keys and other secrets.

    Examples:
      patina keys set openai
      patina keys list
    """


for _command in (protect, rotate, status):
    keys.add_command(_command)


@keys.command("set")
@click.argument("name")
@click.pass_context
def set_(ctx: click.Context, name: str) -> None:
    """Keep a secret as NAME; it is typed at a prompt or piped in.

    A secret named like a provider is that provider's key, and is sent to its address alone. Others
    are used by reference, secret:NAME in the configuration, and are for the address that they are
    first sent to.

    Examples:
      patina keys set openai
      pass show github | patina keys set github/GITHUB_TOKEN
    """
    from patina.secrets.names import check_name

    check_name(name)
    run = context(ctx)
    place = _place(run, name)
    secret = read_secret(name)
    run.origins.of(f"secret:{name}")  # a file that cannot be read is told before anything is kept
    run.keys.set(name, secret)
    run.origins.bind(f"secret:{name}", *place)
    if place:
        click.echo(safe_text(f"The key is for {place[0]}."), err=True)
        _tell_if_unused(run, name)


@keys.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def list_(ctx: click.Context, as_json: bool) -> None:
    """List the names of secrets and where they are, never their values.

    Example:
      patina keys list --json
    """
    columns = {"name": "NAME", "source": "SOURCE", "where": "WHERE", "origins": "GIVEN FOR"}
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
    run = context(ctx)
    run.origins.of(f"secret:{name}")
    if not run.keys.remove(name):
        raise _no_secret(name)
    run.origins.bind(f"secret:{name}")


@keys.command()
@click.argument("reference")
@click.argument("address")
@click.option("--only", is_flag=True, help="To this address, and to no other from now on.")
@click.pass_context
def bind(ctx: click.Context, reference: str, address: str, only: bool) -> None:
    """Allow the key REFERENCE, such as secret:openai or env:OPENAI_API_KEY, to be sent to ADDRESS.

    A key goes only where it was given for, else to the address that it was first sent to. This
    adds an address; setting the key anew with `patina keys set` forgets them all.

    Examples:
      patina keys bind secret:openai https://llm.example.com
      patina keys bind --only env:OPENAI_API_KEY https://api.openai.com
    """
    from patina.providers.endpoints import place_of

    run = context(ctx)
    scheme, colon, name = reference.partition(":")
    if not colon:
        scheme, name = "secret", reference
    if scheme not in {"secret", "env"} or (scheme == "env" and not _VARIABLE.fullmatch(name)):
        raise UsageFault(
            f"{reference} is not a reference to a key.", hint="Use secret:NAME or env:NAME."
        )
    if scheme == "secret" and name not in run.keys.names():
        raise _no_secret(name)
    try:
        place = place_of(address)
    except ValueError as error:
        raise UsageFault(
            f"{address} is not an address: {error}.", hint="Write it as https://host[:port]."
        ) from None
    known = () if only else run.origins.of(f"{scheme}:{name}")
    run.origins.bind(f"{scheme}:{name}", *dict.fromkeys((*known, place)))


def _tell_if_unused(run: Context, name: str) -> None:
    """Say so where the configured provider `name` takes its key from elsewhere."""
    used = run.load().settings.providers[name].api_key
    if used and used != f"secret:{name}":
        text = (
            f"The provider {name} uses {used}. To have it use this key:"
            f" patina config set {join_key(('providers', name, 'api_key'))} secret:{name}"
        )
        click.echo(safe_text(text), err=True)


def _no_secret(name: str) -> UsageFault:
    return UsageFault(
        f'There is no kept secret "{name}".', hint="`patina keys list` shows the names."
    )


def _place(run: Context, name: str) -> tuple[str, ...]:
    """Return the origin of the configured provider `name`, whose key this is; () if there is none.

    What only the environment configures may be another tomorrow: its first use decides.
    """
    from patina.config.document import read_document
    from patina.config.keys import has_key
    from patina.providers.endpoints import key_place

    path = ("providers", name)
    if not has_key(read_document(run.paths.config_file()).values, path):
        return ()
    configured = run.load()
    if configured.source(join_key((*path, "base_url"))).kind not in {"file", "default"}:
        return ()
    try:
        return (key_place(name, configured.settings.providers[name]),)
    except ProviderFault:
        return ()


def _rows(run: Context) -> list[dict[str, Any]]:
    from patina.config.overlay import KINDS
    from patina.providers.brands import BRANDS

    where = str(run.paths.secrets_file)
    rows = [{"name": name, "source": "file", "where": where} for name in run.keys.names()]
    brands = (brand.variable for brand in BRANDS.values())
    named = _variables_in_use(run)
    for variable in dict.fromkeys((*(kind.key for kind in KINDS.values()), *brands, *named)):
        source = run.environment.source(variable) if variable else None
        if source is not None:
            rows.append({"name": variable, "source": source.kind, "where": source.where})
    return [{**row, "origins": list(run.origins.of(_reference(row)))} for row in rows]


def _variables_in_use(run: Context) -> tuple[str, ...]:
    """Return the variables that configured providers take their keys from."""
    try:
        providers = run.load().settings.providers.values()
    except Fault:
        return ()  # names of keys can be told all the same; other commands say what is wrong
    keys = (provider.api_key for provider in providers)
    return tuple(key.removeprefix("env:") for key in keys if key.startswith("env:"))


def _reference(row: dict[str, Any]) -> str:
    return f"{'secret' if row['source'] == 'file' else 'env'}:{row['name']}"


def read_secret(name: str, question: str = "") -> str:
    """Return what is typed at a prompt, unseen, or piped in. Raises `UsageFault`."""
    if sys.stdin is not None and sys.stdin.isatty():
        secret: str = click.prompt(question or f"Value of {name}", hide_input=True, err=True)
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

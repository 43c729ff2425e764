"""`patina keys protect`, `rotate` and `status`: the key that the secrets are encrypted with."""

from typing import Final, cast

import click
from msgspec import structs

from patina.cli.context import context
from patina.cli.output import print_json
from patina.model.faults import EXIT_ERROR, EXIT_OK
from patina.secrets.envelope import Home
from patina.secrets.homes import KEY, NEW_KEY, PHRASE
from patina.secrets.protection import HOMES, keychain_words, protection_of
from patina.views.terminal_text import safe_text

_REPLACED: Final = {
    "variable": f"Set {KEY} to the new key wherever Patina runs. Until then, {NEW_KEY} opens them.",
    "passphrase": f"Where {PHRASE} is set, set it to the new passphrase.",
}
_MOVED: Final = {
    "variable": f"They can only be opened where {KEY} is set: keep it elsewhere, too.",
    "passphrase": "They can only be opened with the passphrase: nobody can bring it back.",
}


@click.command()
@click.argument("home", type=click.Choice(list(HOMES)))
@click.pass_context
def protect(ctx: click.Context, home: str) -> None:
    """Move the key of the secrets: to the keychain, PATINA_KEY, a passphrase or a key file.

    Everything is encrypted anew, with a new key. A passphrase is asked for, or taken from
    PATINA_PASSPHRASE; a key of your own is taken from PATINA_KEY.

    Examples:
      patina keys protect keychain
      patina keys protect passphrase
    """
    _rekey(ctx, cast("Home", home))


@click.command()
@click.pass_context
def rotate(ctx: click.Context) -> None:
    """Encrypt the secrets with a new key, and forget the old one.

    A new passphrase is asked for, or taken from PATINA_PASSPHRASE_NEW; a new key of your own is
    taken from PATINA_KEY_NEW. The secrets themselves stay: change one with `patina keys set`.

    Example:
      patina keys rotate
    """
    _rekey(ctx, None)


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def status(ctx: click.Context, as_json: bool) -> int:
    """Say what protects the secrets, and from whom. Exit code 1: they cannot be opened at all.

    Example:
      patina keys status
    """
    run = context(ctx)
    found = protection_of(run.vault)
    if found.home in ("", "file"):
        text = f"{found.text} {keychain_words(run.vault)}"
        found = structs.replace(found, text=text.rstrip())
    if as_json:
        print_json(found)
    else:
        for text in filter(None, (found.text, found.hint)):
            click.echo(safe_text(run.redactor(text)))
    return EXIT_ERROR if found.state == "broken" else EXIT_OK


def _rekey(ctx: click.Context, wanted: Home | None) -> None:
    vault = context(ctx).vault
    before = vault.home()
    home, notes = vault.rekey(wanted)
    said = [f"The secrets have a new key, {HOMES[home]}."]
    more = _REPLACED if home == before else _MOVED
    said += [more[home]] if home in more else []
    for text in (*said, *notes):
        click.echo(safe_text(text), err=True)

"""Which key a provider is to have that is added or changed, and where that key may go."""

import re
from typing import Final

import click
from msgspec import Struct

from patina.cli.context import Context
from patina.model.faults import Fault, UsageFault
from patina.model.settings import ProviderSettings
from patina.views.terminal_text import safe_text

_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class Key(Struct, frozen=True):
    """The key of a provider: its reference, and its value where it is a new one.

    `given` says that a person just gave it for the provider's address.
    """

    reference: str = ""
    value: str = ""
    given: bool = True


def key_for_new(
    run: Context, name: str, settings: ProviderSettings, variable: str | None, *, ask: bool
) -> Key:
    """Return the key of a provider that is added.

    `variable` names one; `ask` wants a new one read. One that is needed and nowhere is asked for.
    """
    from patina.providers.endpoints import at_home, brand_for

    if variable:
        return _from_variable(run, variable)
    brand = brand_for(name, settings)
    place = place_for(name, settings)
    home = at_home(name, settings)
    if not ask:
        if home and brand.variable and brand.variable in run.environment:
            return Key(f"env:{brand.variable}")
        if name in run.keys.names():
            known = run.origins.of(f"secret:{name}")
            if not known or place in known:
                return Key(f"secret:{name}")
        if not (brand.needs_key and (home or settings.kind == "azure_openai")):
            return Key()
    return _asked(name, brand.title, place)


def key_for_edited(
    run: Context,
    name: str,
    old: ProviderSettings,
    new: ProviderSettings,
    variable: str | None,
    *,
    ask: bool,
    same: bool,
) -> Key:
    """Return the key of a provider that is changed; see `key_for_new`.

    At another origin it needs one of its own, unless it is to be the `same`.
    """
    from patina.providers.endpoints import Endpoints, brand_for

    if variable is not None:
        return _from_variable(run, variable) if variable else Key()
    place, before = place_for(name, new), _place_or_nothing(name, old)
    reference = Endpoints(run.keys).reference(name, old)
    title = brand_for(name, new).title
    if ask:
        return _asked(name, title, place)
    if same and reference:
        return Key(reference)
    if not reference or place == before or place in run.origins.of(reference):
        return Key(old.api_key, given=False)
    where = " and ".join(run.origins.of(reference)) or before
    text = f"The key {reference} was given for {where}. {place} needs one of its own."
    click.echo(safe_text(text), err=True)
    try:
        return _asked(name, title, place)
    except UsageFault as fault:
        raise UsageFault(
            fault.failure.message,
            hint="Pipe it in, name its variable with --key-env, or say --keep-key if the same key"
            f" is to be sent to {place}.",
        ) from None


def keep(run: Context, name: str, key: Key, place: str) -> None:
    """Keep a new key, and note that it is for `place`. Raises `ConfigFault`."""
    if not key.reference or not key.given:
        return
    if key.value:
        run.keys.set(name, key.value)
        run.origins.bind(key.reference, place)
        return
    known = run.origins.of(key.reference)
    if place not in known:
        run.origins.bind(key.reference, *known, place)


def place_for(name: str, settings: ProviderSettings) -> str:
    """Return the origin of a provider's address. Raises `ProviderFault` for a wrong one."""
    from patina.providers.endpoints import key_place

    return key_place(name, settings)


def place_is_here(base_url: str) -> bool:
    """Whether an address is on this machine."""
    from patina.ports.keys import THIS_MACHINE
    from patina.providers.endpoints import place_of

    try:
        return place_of(base_url) == THIS_MACHINE
    except ValueError:
        return False


def _place_or_nothing(name: str, settings: ProviderSettings) -> str:
    try:
        return place_for(name, settings)
    except Fault:
        return ""


def _from_variable(run: Context, variable: str) -> Key:
    if not _VARIABLE.fullmatch(variable):
        raise UsageFault(
            "That is not the name of a variable.", hint="Give its name, as GROQ_API_KEY."
        )
    if variable not in run.environment:
        click.echo(safe_text(f"{variable} is not set now."), err=True)
    return Key(f"env:{variable}")


def _asked(name: str, title: str, place: str) -> Key:
    from patina.cli.keys import read_secret
    from patina.secrets.names import check_name

    check_name(name)
    try:
        value = read_secret(name, f"Key of {title} for {place}")
    except UsageFault as fault:
        raise UsageFault(
            fault.failure.message,
            hint="Type it at the prompt, pipe it in, or name its variable with --key-env.",
        ) from None
    return Key(f"secret:{name}", value)

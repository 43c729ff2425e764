"""Which values are secret in this run, told to the redactor: cheap ones at once, others late."""

from collections.abc import Iterator
from contextlib import suppress

from patina.cli.context import Context
from patina.config.keys import names_secret
from patina.model.faults import ConfigFault, Fault
from patina.model.masking import Mask
from patina.model.settings import Configured, Settings

_KEYFILE = "keyfile:"


def learn_secrets(run: Context, configured: Configured) -> None:
    """Tell the redactor what stands in the environment, in `.env` files and in addresses.

    What is kept encrypted or in key files is read once a text may have some of it in it: to open
    it costs time, and a keychain may ask.
    """
    redactor, environment = run.redactor, run.environment
    for name in environment:
        if names_secret(name):
            redactor.add(environment[name])
    for value in _in_addresses(configured.settings):
        redactor.add(value)
    redactor.learn_by(lambda: _learn_kept(run, configured.settings))


def mask_of(run: Context) -> Mask:
    """Return what masks every secret of this user that can be read."""
    with suppress(ConfigFault):
        learn_secrets(run, run.load())
    return run.redactor.known


def _learn_kept(run: Context, settings: Settings) -> None:
    with suppress(ConfigFault):  # said by whoever needs one of them
        run.vault.check()  # tells the redactor all that is kept, and asks for no passphrase
    for reference in _references(settings):
        if reference.startswith(_KEYFILE):
            with suppress(Fault):
                run.resolver.resolve(reference)


def _references(settings: Settings) -> Iterator[str]:
    for provider in settings.providers.values():
        yield provider.api_key
    for server in settings.mcp_servers.values():
        yield from server.env.values()
        yield from (value.rpartition(" ")[2] for value in server.headers.values())
        yield from (server.oauth.client_secret, server.oauth.private_key)


def _in_addresses(settings: Settings) -> Iterator[str]:
    addresses = [server.url for server in settings.mcp_servers.values()]
    addresses += [provider.base_url for provider in settings.providers.values()]
    suspects = [one for one in addresses if "@" in one or "?" in one]
    if not suspects:
        return
    from urllib.parse import parse_qsl, unquote, urlsplit

    for address in suspects:
        with suppress(ValueError):
            parts = urlsplit(address)
            if parts.password:
                yield from {parts.password, unquote(parts.password)}
            yield from (value for name, value in parse_qsl(parts.query) if names_secret(name))

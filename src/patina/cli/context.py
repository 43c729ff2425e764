"""What every command has: the places of the files, the settings, the keys, the common options."""

import sys
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import click

from patina.cli.passphrase import ask_passphrase
from patina.config.environment import Environment, process_environment, read_environment
from patina.config.paths import Paths, find_paths
from patina.model.settings import Configured
from patina.ports.grants import Grants
from patina.ports.keys import Keys, Origins

if TYPE_CHECKING:
    from patina.config.load import Flags
    from patina.config.network import Network
    from patina.secrets.environment import Resolver
    from patina.secrets.redact import Redactor
    from patina.secrets.vault import Vault


class Context:
    """One run of a command. Everything is read once, when it is first used.

    `offline`, `debug_mcp`, `log_level` and `env_file` are the options of every command.
    """

    def __init__(self) -> None:
        self.offline = False
        self.debug_mcp = False
        self.log_level: str | None = None
        self.env_file: Path | None = None
        self._configured: Configured | None = None
        self._given: Flags = {}
        self._logging = False

    @cached_property
    def paths(self) -> Paths:
        """Where the files are."""
        return find_paths(process_environment())

    @cached_property
    def environment(self) -> Environment:
        """The environment with the `.env` files. Raises `ConfigFault`."""
        return read_environment(self.paths, env_file=self.env_file)

    @cached_property
    def network(self) -> "Network":
        """Proxies and certificates."""
        from patina.config.network import read_network

        return read_network(self.environment)

    @property
    def keys(self) -> Keys:
        """Secrets by name, of the environment and the kept ones."""
        return self.resolver

    @cached_property
    def resolver(self) -> "Resolver":
        """The same secrets, also by reference."""
        from patina.secrets.environment import Resolver

        return Resolver(self.environment, self.vault, self.redactor.add_kept)

    @cached_property
    def vault(self) -> "Vault":
        """The kept secrets."""
        from patina.config.files import update_file
        from patina.secrets.homes import KeyHomes
        from patina.secrets.key_file import KeyFile
        from patina.secrets.keychain import Keychain
        from patina.secrets.vault import Places, Vault

        paths, environ = self.paths, process_environment()
        homes = KeyHomes(
            KeyFile(paths.key_file, update_file),
            environ,
            keychain=Keychain(environ),
            ask=ask_passphrase,
        )
        places = Places(paths.secrets_file, paths.legacy_secrets_file, paths.names_file)
        redactor = self.redactor
        return Vault(places, homes, update_file, redactor.add_kept, redactor.add_passing)

    @cached_property
    def grants(self) -> Grants:
        """What sign-ins have left behind, for all processes."""
        from patina.config.files import try_lock
        from patina.secrets.grants import VaultGrants

        return VaultGrants(self.vault, self.paths.state / "locks", try_lock)

    @cached_property
    def origins(self) -> Origins:
        """To which origins the kept keys were given."""
        from patina.config.files import update_file
        from patina.secrets.origins import FileOrigins

        return FileOrigins(self.paths.origins_file, update_file)

    @cached_property
    def redactor(self) -> "Redactor":
        """Masks secrets; it knows those of the environment and those that were looked up."""
        from patina.config.keys import names_secret
        from patina.secrets.redact import Redactor

        environ = process_environment()
        return Redactor(value for name, value in environ.items() if names_secret(name))

    def unlock(self) -> None:
        """Ask for the passphrase now, where one is needed; nobody is asked later.

        While an app runs, the keyboard is not free, and Ctrl+C means something else. What cannot
        be opened is told by whatever needs it.
        """
        from contextlib import suppress

        from patina.model.faults import ConfigFault
        from patina.secrets.homes import ask_nobody

        with suppress(ConfigFault):
            if self.vault.home() == "passphrase" and self._needs_kept():
                self.vault.unlock()
        self.vault.homes.ask = ask_nobody

    def open_kept(self) -> None:
        """Open the kept secrets now, where they are needed: for an app that lives on.

        A keychain may take seconds, in which such an app would do nothing else. One that does not
        answer is given up here. What cannot be opened is told by whatever needs it.
        """
        from contextlib import suppress

        from patina.model.faults import ConfigFault

        with suppress(ConfigFault):
            if self._needs_kept():
                self.vault.check()

    def _needs_kept(self) -> bool:
        """Whether the settings refer to kept secrets, or sign-ins were kept."""
        import msgspec

        return b"secret:" in msgspec.json.encode(self.load().settings) or bool(self.vault.records())

    def load(self, flags: "Flags | None" = None) -> Configured:
        """Return the settings, and start the log at their level.

        `flags` are those of this command that set something: dotted key to flag and value. Only
        the first call reads. What was done to the file is said on stderr. Raises `ConfigFault`.
        """
        if self._configured is None:
            from patina.config.load import NOTICES, WARNINGS, load_config
            from patina.views.terminal_text import safe_text

            given = dict(flags or {})
            if self.log_level is not None:
                given["log.level"] = ("--log-level", self.log_level)
            configured = load_config(self.paths, self.environment, self.keys, given)
            self._configured, self._given = configured, given
            self.start_log(configured.settings.log.level)
            for notice in configured.extra.get(NOTICES, ()):
                print(f"patina: {safe_text(notice)}", file=sys.stderr)
            if WARNINGS in configured.extra:
                import logging

                for warning in configured.extra[WARNINGS]:
                    logging.getLogger("patina.config").warning("%s", warning)
        return self._configured

    def reload(self) -> Configured:
        """Return the settings as the file has them now, with the flags and environment of `load`.

        Prints nothing. Raises `ConfigFault`.
        """
        from patina.config.load import load_config

        return load_config(self.paths, self.environment, self.keys, self._given)

    def start_log(self, level: str | None = None) -> None:
        """Send what is logged to the log file; without `level`, unless that is done already."""
        if level is None and self._logging:
            return
        from patina.assembly.log import install_log

        chosen = level or self.log_level or "info"
        install_log(self.paths.log_file, chosen, self.redactor, debug_mcp=self.debug_mcp)
        self._logging = True


def context(click_context: click.Context) -> Context:
    """Return the run that a click command belongs to."""
    return click_context.ensure_object(Context)

"""Where Patina keeps its files. Nothing is created here: folders appear on the first write."""

from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct

from patina.model.faults import ConfigFault

HOME_VARIABLE = "PATINA_HOME"
PRIVATE_FOLDER = 0o700


class Paths(Struct, frozen=True):
    """The four folders. `data` holds what must survive, `state` and `cache` may be deleted.

    All four differ, on every system: `data` may be synced or shared, the others must not be.
    """

    config: Path
    data: Path
    state: Path
    cache: Path

    @property
    def config_toml(self) -> Path:
        """The configuration, under the name that is preferred."""
        return self.config / "config.toml"

    @property
    def settings_toml(self) -> Path:
        """The configuration, under the name that is read where `config.toml` is absent."""
        return self.config / "settings.toml"

    @property
    def env_file(self) -> Path:
        """The `.env` of the Patina folder."""
        return self.config / ".env"

    @property
    def secrets_file(self) -> Path:
        """The kept keys, encrypted."""
        return self.data / "secrets.enc"

    @property
    def key_file(self) -> Path:
        """What opens them, where no better place has it: never in `data`, which may be synced."""
        return self.config / "key"

    @property
    def legacy_secrets_file(self) -> Path:
        """Where they were before they were encrypted."""
        return self.config / "secrets.json"

    @property
    def names_file(self) -> Path:
        """The names of the kept keys, so that they need not be opened for that."""
        return self.cache / "key_names.json"

    @property
    def origins_file(self) -> Path:
        """To which origins the keys were given; for this computer, as the configuration."""
        return self.config / "key_origins.json"

    @property
    def log_file(self) -> Path:
        """The newest log."""
        return self.state / "logs" / "patina.log"

    def config_file(self) -> Path:
        """Return the configuration file that is read and saved; it need not exist.

        Raises `ConfigFault` where both names exist.
        """
        try:
            other = self.settings_toml.exists()
            if other and self.config_toml.exists():
                raise ConfigFault(
                    f"Both {self.config_toml} and {self.settings_toml} exist.",
                    hint="Keep one of them: move what you need into config.toml and remove "
                    "settings.toml.",
                )
        except OSError as error:
            raise ConfigFault(
                f"{self.config} cannot be read: {error.strerror}.",
                hint="Check the permissions of the folder, or choose another with PATINA_HOME.",
            ) from None
        return self.settings_toml if other else self.config_toml


def find_paths(environ: Mapping[str, str]) -> Paths:
    """Return the folders for this user: below `PATINA_HOME`, else where the system keeps such."""
    home = environ.get(HOME_VARIABLE)
    if home:
        root = Path(home).expanduser().absolute()
        return Paths(root, root / "data", root / "state", root / "cache")
    from platformdirs import PlatformDirs

    folders = PlatformDirs("patina", appauthor=False)
    config, data = folders.user_config_path, folders.user_data_path
    state, cache = folders.user_state_path, folders.user_cache_path
    # macOS and Windows have one folder for the first three.
    if state in (config, data):
        state = state / "state"
    if data == config:
        data = data / "data"
    return Paths(config, data, state, cache)


def private_folder(path: Path) -> Path:
    """Make `path`, and what is missing above it, readable by the user only. Raises `OSError`."""
    if not path.is_dir():
        private_folder(path.parent)
        path.mkdir(mode=PRIVATE_FOLDER, exist_ok=True)
    return path

"""A Patina folder in a temporary place, and loading from it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from patina.config.environment import read_environment
from patina.config.files import update_file
from patina.config.load import Flags, load_config
from patina.config.paths import Paths, find_paths
from patina.model.settings import Configured
from patina.secrets.vault import key_file_vault


class Home:
    """One Patina folder, one working directory, and what they hold."""

    def __init__(self, root: Path) -> None:
        self.paths: Paths = find_paths({"PATINA_HOME": str(root / "home")})
        self.folder = root / "work"
        self.folder.mkdir(parents=True, exist_ok=True)
        self.paths.config.mkdir(parents=True, exist_ok=True)
        self.keys = key_file_vault(self.paths.secrets_file, self.paths.key_file, update_file)

    @property
    def file(self) -> Path:
        return self.paths.config_toml

    def write(self, text: str) -> None:
        self.file.write_text(text, encoding="utf-8")

    def read(self) -> str:
        return self.file.read_text(encoding="utf-8")

    def load(
        self,
        process: Mapping[str, str] | None = None,
        *,
        env_file: Path | None = None,
        flags: Flags | None = None,
    ) -> Configured:
        environment = read_environment(
            self.paths, env_file=env_file, folder=self.folder, process=process or {}
        )
        return load_config(self.paths, environment, self.keys, flags)

    def provider(self, name: str, process: Mapping[str, str] | None = None) -> Any:
        return self.load(process).settings.providers[name]

"""An app with its engine open, and nothing to do: for its memory."""

import os
import tempfile
from pathlib import Path

import anyio

from patina.assembly.app import Setup, open_app
from patina.config.files import update_file
from patina.config.paths import Paths
from patina.model.settings import Configured, Settings
from patina.secrets.environment import Resolver
from patina.secrets.vault import key_file_vault


def setup_in(folder: Path, settings: Settings) -> Setup:
    """Return what an app with all its files below `folder` is built from."""
    paths = Paths(folder, folder / "data", folder / "state", folder / "cache")
    kept = key_file_vault(paths.secrets_file, paths.key_file, update_file)
    keys = Resolver({}, kept, seen=lambda _: None)
    return Setup(configured=Configured(settings), paths=paths, environ=dict(os.environ), keys=keys)


async def idle(folder: Path) -> None:
    """Open the app and let it settle."""
    async with open_app(setup_in(folder, Settings())) as app:
        with app.engine.subscribe():
            await anyio.sleep(0.1)


def main() -> None:
    """Run it."""
    with tempfile.TemporaryDirectory(prefix="patina-bench-") as folder:
        anyio.run(idle, Path(folder))


if __name__ == "__main__":
    main()

"""Files of this room: for their owner only, whole or not at all."""

import os
from pathlib import Path


def private_folder(path: Path) -> None:
    """Make `path`, and what is missing above it, for its owner only. Raises `OSError`."""
    if not path.is_dir():
        private_folder(path.parent)
        path.mkdir(mode=0o700, exist_ok=True)


def replace(path: Path, content: bytes, *, sync: bool = True) -> None:
    """Put `content` where `path` is, whole or not at all; folders that are missing are made.

    `sync`: it is on the disk when this returns. Raises `OSError`.
    """
    private_folder(path.parent)
    draft = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            if sync:
                file.flush()
                os.fsync(file.fileno())
        draft.replace(path)
    except OSError:
        draft.unlink(missing_ok=True)
        raise

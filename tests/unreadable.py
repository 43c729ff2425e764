"""A file that this process may not read, also where it runs as root."""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NOBODY = 65534


@contextmanager
def unreadable_file() -> Iterator[Path]:
    """Yield a file of mode 000; root has no rights of its own meanwhile. Not on Windows."""
    assert sys.platform != "win32"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        file = folder / "key"
        file.write_text("k")
        file.chmod(0)
        root = os.geteuid() == 0
        if root:
            os.seteuid(NOBODY)
        try:
            yield file
        finally:
            if root:
                os.seteuid(0)

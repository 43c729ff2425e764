"""A browser of the tests' own."""

import os
import stat
from pathlib import Path


class Opener:
    """A browser that writes down what it is asked to open."""

    def __init__(self, folder: Path) -> None:
        self._notes = folder / "opened"
        self.program = folder / "opener"
        self.program.write_text(f'#!/bin/sh\nprintf "%s\\n" "$#" "$@" >> "{self._notes}"\n')
        self.program.chmod(stat.S_IRWXU)
        # Whatever else might open one finds the same program.
        for name in ("xdg-open", "gio", "x-www-browser", "open", "wslview", "sh-open"):
            (folder / name).symlink_to(self.program)
        self.environ = {
            "BROWSER": str(self.program),
            "PATH": f"{folder}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
            "DISPLAY": ":9",
        }

    @property
    def opened(self) -> list[str]:
        return self._notes.read_text("utf-8").splitlines() if self._notes.exists() else []

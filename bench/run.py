"""The measurements, in one command from anywhere: `python bench/run.py --help`.

It makes what is missing (`./run` makes .venv) and starts the folder as a module in there.
"""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PYTHON = ROOT / ".venv/bin/python"


def main() -> None:
    """Become `python -m bench` of .venv."""
    if not PYTHON.exists():
        subprocess.run([ROOT / "run", "--version"], check=True, stdout=subprocess.DEVNULL)
    os.chdir(ROOT)
    os.execv(PYTHON, [str(PYTHON), "-m", "bench", *sys.argv[1:]])


if __name__ == "__main__":
    main()

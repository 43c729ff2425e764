"""Another program that can be measured here and now: `llm`, from the package index."""

import subprocess
import sys
from pathlib import Path
from typing import Self

from bench.processes import NotMeasuredError, Program

PINNED = "llm==0.36"
# Below .venv nothing is looked at by git or by the checks, and what it holds can be made again.
FOLDER = Path(__file__).resolve().parent.parent / ".venv" / "peers"
_MODELS = """\
- model_id: stand-in
  model_name: gpt-5.2
  api_base: "http://127.0.0.1:{port}/v1"
"""


class Llm:
    """`llm` in an environment of its own, with its data below `folder`.

    It keeps its log of prompts and answers, as Patina keeps transcripts.
    """

    name = PINNED.replace("==", " ")

    def __init__(self, folder: Path) -> None:
        self._data = folder / "llm"
        self._data.mkdir()

    @classmethod
    def installed(cls, folder: Path) -> Self:
        """Install it where it is missing. Raises `NotMeasuredError`."""
        done = FOLDER / "installed"
        if not done.exists() or done.read_text(encoding="utf-8") != PINNED:
            python = str(FOLDER / "bin" / "python")
            pip = [python, "-m", "pip", "install", "-qq", "--disable-pip-version-check", PINNED]
            try:
                subprocess.run([sys.executable, "-m", "venv", "--clear", FOLDER], check=True)
                subprocess.run(pip, check=True, stderr=subprocess.DEVNULL)
            except (subprocess.SubprocessError, OSError) as error:
                raise NotMeasuredError(f"{PINNED} cannot be installed: {error}") from error
            done.write_text(PINNED, encoding="utf-8")
        return cls(folder)

    def program(self, *arguments: str) -> Program:
        """Return a command line of it."""
        environ = {"LLM_USER_PATH": str(self._data), "OPENAI_API_KEY": "none"}
        return Program((str(FOLDER / "bin" / "llm"), *arguments), environ)

    def ask(self, port: str) -> Program:
        """Return the question to the server at `port`."""
        models = self._data / "extra-openai-models.yaml"
        models.write_text(_MODELS.format(port=port), encoding="utf-8")
        return self.program("prompt", "-m", "stand-in", "hello")

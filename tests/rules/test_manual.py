"""The manual knows every command, option, exit code and kind of error, and its examples run."""

import importlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from patina.model import faults

EXIT_CODES = {value for name, value in vars(faults).items() if name.startswith("EXIT_")}
SEPARATOR = "\x1e"
BASH = shutil.which("bash") or ""


def read(root: Path, name: str) -> str:
    return (root / name).read_text(encoding="utf-8")


def sections(text: str) -> dict[str, str]:
    found = re.split(r"^#+ (.+)$", text, flags=re.MULTILINE)
    return {title.strip("`"): body for title, body in zip(found[1::2], found[2::2], strict=True)}


def below(command: click.Command, path: str) -> Iterator[tuple[str, click.Command]]:
    if isinstance(command, click.Group):
        for name in command.list_commands(click.Context(command)):
            inner = command.get_command(click.Context(command), name)
            assert inner is not None
            yield from below(inner, f"{path} {name}")
    elif not command.hidden:
        yield path, command


def every_command() -> Iterator[tuple[str, click.Command]]:
    """Every command that can be typed, with its click object."""
    for name, entry in importlib.import_module("patina.cli.main").COMMANDS.items():
        module, attribute, *_ = entry
        yield from below(getattr(importlib.import_module(module), attribute), f"patina {name}")


def stands_in(text: str, option: str) -> bool:
    return re.search(rf"`[^`]*(?<![\w-]){re.escape(option)}(?![\w-])", text) is not None


def test_each_command_and_option(root: Path) -> None:
    found = sections(read(root, "docs/manual.md"))
    everywhere = found["Options of every command"]
    missing = []
    for path, command in every_command():
        section = found.get(path)
        if section is None:
            missing.append(path)
            continue
        for option in command.params:
            if isinstance(option, click.Option) and not option.hidden:
                names = [*option.opts, *option.secondary_opts]
                missing += [
                    f"{path} {name}" for name in names if not stands_in(section + everywhere, name)
                ]
    assert not missing, "\n".join(missing)


def test_no_command_that_does_not_exist(root: Path) -> None:
    documented = {
        title for title in sections(read(root, "docs/manual.md")) if title.startswith("patina ")
    }
    assert documented == {path for path, _ in every_command()}


def test_each_exit_code(root: Path) -> None:
    table = sections(read(root, "docs/manual.md"))["Exit codes"]
    assert {int(code) for code in re.findall(r"^\| (\d+) \|", table, re.MULTILINE)} == EXIT_CODES
    assert set(re.findall(r"^\| (\d+) \|", read(root, "README.md"), re.MULTILINE)) == {
        str(code) for code in EXIT_CODES
    }


def test_each_kind_of_error_with_its_exit_code(root: Path) -> None:
    table = sections(read(root, "docs/manual.md"))["Kinds of error"]
    documented = dict(re.findall(r"^\| `(\w+)` \| (\d+) \|", table, re.MULTILINE))
    assert documented == {kind: str(faults.exit_code(kind)) for kind in faults.FAULT_KINDS}


def examples(root: Path) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """The blocks that are marked to be run: where they stand, and commands with their output."""
    for name in ("README.md", "docs/manual.md"):
        text = read(root, name)
        for block in re.finditer(r"^```console run\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
            line = text.count("\n", 0, block.start()) + 1
            steps = [
                (command, output)
                for command, output in re.findall(
                    r"^\$ (.+)\n((?:(?!\$ ).*\n)*)", block[1], re.MULTILINE
                )
            ]
            yield f"{name}:{line}", steps


def alike(expected: str, actual: str) -> bool:
    """Whether the words are the same, where `...` stands for any of them."""
    pattern = re.escape(" ".join(expected.split())).replace(re.escape("..."), ".*?")
    return re.fullmatch(pattern, " ".join(actual.split())) is not None


@pytest.mark.skipif(not BASH, reason="the examples are typed into bash")
def test_examples_do_what_they_say(root: Path, tmp_path: Path) -> None:
    """Each block runs in one shell, in a folder and a home of its own."""
    blocks = list(examples(root))
    assert blocks
    for number, (where, steps) in enumerate(blocks):
        folder = tmp_path / f"block{number}"
        (folder / "bin").mkdir(parents=True)
        start = folder / "bin/patina"
        start.write_text(f'#!/bin/bash\nexec "{sys.executable}" -P -m patina "$@"\n')
        start.chmod(0o755)
        between = f"\nstatus=$?; printf '{SEPARATOR}'; (exit $status)\n"
        script = between.join(command for command, _ in steps)
        result = subprocess.run(
            [BASH, "-c", script],
            cwd=folder,
            env={
                **os.environ,
                "PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}",
                "PATINA_HOME": str(folder / "home"),
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            timeout=120,
        )
        outputs = result.stdout.split(SEPARATOR)
        assert len(outputs) == len(steps), f"{where}: {result.stdout}"
        for (command, expected), actual in zip(steps, outputs, strict=True):
            assert alike(expected, actual), f"{where}: $ {command}\n{actual}"

"""`patina completion`: the script that teaches a shell to complete Patina's commands."""

import click


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion script of a shell.

    Examples:
      patina completion bash >> ~/.bashrc
      patina completion zsh > ~/.zfunc/_patina
      patina completion fish > ~/.config/fish/completions/patina.fish
    """
    from click.shell_completion import get_completion_class

    from patina.cli.frame import PROGRAM

    complete = get_completion_class(shell)
    assert complete is not None
    # The source alone: `source()` would start bash to ask for its version.
    script = complete(PROGRAM, {}, "patina", "_PATINA_COMPLETE")
    print(script.source_template % script.source_vars())

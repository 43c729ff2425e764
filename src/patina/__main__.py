"""The program. What needs no command is answered before anything else is imported."""

import sys


def main() -> int:
    """Run the command line of this process and return its exit code."""
    arguments = sys.argv[1:]
    if arguments in (["--version"], ["-V"]):
        from patina import __version__

        sys.stdout.write(f"patina {__version__}\n")
        return 0
    from patina.cli.main import run

    return run(arguments)


if __name__ == "__main__":
    sys.exit(main())

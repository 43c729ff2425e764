"""The program. What needs no command is answered before anything else is imported."""

import os
import sys


def main() -> int:
    """Run the command line of this process and return its exit code."""
    arguments = sys.argv[1:]
    if arguments in (["--version"], ["-V"]):
        from patina import __version__

        try:
            os.write(1, f"patina {__version__}\n".encode())
        except OSError:  # closed or full: nobody is to be told
            return 1
        return 0
    from patina.cli.main import run

    return run(arguments)


if __name__ == "__main__":
    sys.exit(main())

"""Starts one program, drains what it prints, and says what it cost. Used by `processes.py`:

    python -I -S spawn.py pipe|terminal PROGRAM [ARGUMENT…]

It prints a line: exit code, monotonic time of the start, seconds until the end, CPU seconds, peak
memory in bytes, bytes printed; then the end of what was printed. On Linux the peak memory of a
program is never less than that of what started it: so this imports next to nothing.
"""

import os
import sys
import time

KEPT = 2000


def drain(descriptor: int) -> tuple[int, bytes]:
    """Read to the end. Return the number of bytes and the last of them."""
    count, end = 0, b""
    while True:
        try:
            data = os.read(descriptor, 65536)
        except OSError:  # how Linux says that the last program has left a terminal
            data = b""
        if not data:
            return count, end
        count += len(data)
        end = (end + data)[-KEPT:]


def start(program: list[str], *, terminal: bool) -> tuple[int, int]:
    """Start `program`. Return its process id and what to read its output from."""
    ours, theirs = os.openpty() if terminal else os.pipe()
    child = os.fork()
    if child:
        os.close(theirs)
        return child, ours
    os.close(ours)
    if terminal:
        os.login_tty(theirs)
    else:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(theirs, 1)
        os.close(theirs)
    try:
        os.execv(program[0], program)
    finally:
        os._exit(127)


def main() -> None:
    """Measure one program."""
    begun = time.monotonic()
    child, output = start(sys.argv[2:], terminal=sys.argv[1] == "terminal")
    printed, end = drain(output)
    _, status, usage = os.wait4(child, 0)
    wall = time.monotonic() - begun
    code = os.waitstatus_to_exitcode(status)
    cpu = usage.ru_utime + usage.ru_stime
    peak = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    os.write(1, f"{code} {begun!r} {wall!r} {cpu!r} {peak} {printed}\n".encode() + end)


if __name__ == "__main__":
    main()

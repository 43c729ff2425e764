"""Searches a text for a regular expression, in a process of its own.

A pattern can be such that a search for it takes hours, and nothing ends it but the end of its
process. Run as a program: a JSON object with `pattern` and `text` on its standard input, a JSON
object with `hits` (line from 0, first and last character) or `error` on its standard output. It
imports nothing of Patina.
"""

import json
import re
import sys

MOST = 10_000


def search(pattern: str, text: str) -> dict[str, object]:
    """Return the first place in each line that `pattern` matches, of at most `MOST` lines."""
    try:
        compiled = re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        return {"error": str(error)}
    hits: list[tuple[int, int, int]] = []
    for number, line in enumerate(text.split("\n")):
        match = compiled.search(line)
        if match:
            hits.append((number, match.start(), match.end()))
            if len(hits) == MOST:
                break
    return {"hits": hits}


if __name__ == "__main__":
    given = json.loads(sys.stdin.buffer.read())
    sys.stdout.buffer.write(json.dumps(search(given["pattern"], given["text"])).encode())

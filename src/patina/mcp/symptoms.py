"""What the last words of a local server say about why it does not run.

The patterns are of what npm 10 and 11, uv, Docker, Node.js, CPython and shells print, and of how
the reference servers complain. All text is the server's: it may be nonsense, so a match is a
likely cause and never more.
"""

import re
from itertools import islice
from typing import Final

from msgspec import Struct

_LONGEST: Final = 20_000
_MOST_MATCHES: Final = 20
_VARIABLE: Final = r"([A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+)"


class Symptom(Struct, frozen=True):
    """A kind of trouble (see `causes`), and what it is about: a package, a variable."""

    kind: str
    about: str = ""


# The first that matches is the cause: what a program runs comes before what it then says.
_PATTERNS: Final = {
    "docker": re.compile(
        r"(?i)cannot connect to the docker daemon|docker daemon is not running"
        r"|failed to connect to the docker api|error during connect:|cannot connect to podman"
    ),
    "docker_denied": re.compile(r"(?i)permission denied while trying to connect to the docker"),
    "no_network": re.compile(
        r"\b(?:ENOTFOUND|EAI_AGAIN|ENETUNREACH|EHOSTUNREACH)\b ?([\w.-]*)"
        r"|Temporary failure in name resolution|Name or service not known|(?i:dns error)"
        r"|failed to lookup address|nodename nor servname|Could not resolve host|no such host"
        r"|(?i:network is unreachable)|request to \S+ failed, reason: connect ECONNREFUSED"
    ),
    "no_package": re.compile(
        r"404 +(?:The requested resource )?'([^'\s]+?)(?:@\*)?'"
        r"|npm (?:error|ERR!) code (?:E404|ETARGET)|could not determine executable to run"
        r"|No matching version found for (\S+?)\.?(?:\s|$)"
        r"|Because (\S+) was not found in the package registry"
        r"|No matching distribution found for (\S+)"
        r"|pull access denied for ([^\s,]+)|manifest for (\S+) not found|manifest unknown"
    ),
    "old_runtime": re.compile(
        r"EBADENGINE|Unsupported engine|(?i:requires? node(?:\.js)? (?:version )?[v>=^~]*\d)"
        r"|requires a different Python|Requires-Python|requires Python [>=~]"
    ),
    # Of a package, Node.js names the package; of the file that it was to run, its whole path.
    "no_script": re.compile(
        r"can't open file '([^']+)'|Cannot find module '((?:/|[A-Za-z]:\\)[^']+)'"
    ),
    "missing_module": re.compile(
        r"No module named '?([\w.]+)|Cannot find (?:module|package) '([^']+)'"
        r"|(?:ERR_MODULE|MODULE)_NOT_FOUND|ImportError: (?:cannot import name )?(\S+)"
    ),
    "no_interpreter": re.compile(
        r"env: [`'\u2018]?([^`'\u2019:\s]+)[`'\u2019]?: No such file"
        r"|(?:^|\n)\S*: (?:line )?\d+: (?:exec: )?(\S+): not found"
        r"|(?:^|\n)\S*: (?:line \d+: )?(\S+): command not found"
    ),
    "missing_variable": re.compile(
        rf"KeyError: '{_VARIABLE}'"
        rf"|\b{_VARIABLE}\b[\"'` ]*(?:env(?:ironment)? var\w*)?[\"'` ]*"
        r"(?:(?:is|was|are|must be|has) )?(?:not |un)?(?:been )?"
        r"(?:required|set\b|missing|defined|provided|found|empty|given)"
        r"|(?i:missing|required|not set|(?:must|please) (?:set|provide)|needs?)"
        rf"[^\n]{{0,60}}?[\s:'\"`(]{_VARIABLE}\b"
    ),
    "port_taken": re.compile(r"EADDRINUSE|(?i:address already in use)"),
    "http_server": re.compile(
        r"(?i)(?:listening|running|serving|started|available|ready)\b[^\n]{0,60}"
        r"(https?://[^\s\"'<>]+|\bport:? \d+)"
    ),
    "arguments": re.compile(
        r"(?i)(?:^|\n)\s*usage: |unrecognized arguments?|unknown (?:option|argument|command)"
        r"|invalid option|unexpected argument"
    ),
    "denied": re.compile(r"\b(?:EACCES|EPERM)\b|(?i:permission denied)"),
}


def symptom(words: str) -> Symptom | None:
    """Return what `words` (lines of stderr, and of stdout that are no messages) tell of."""
    text = words[-_LONGEST:]
    for kind, pattern in _PATTERNS.items():
        matches = list(islice(pattern.finditer(text), _MOST_MATCHES))
        if matches:
            named = (group for match in matches for group in match.groups() if group)
            return Symptom(kind, next(named, "").strip(".,;:"))
    return None

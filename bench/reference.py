"""Figures of other programs, measured once on a machine like this project's CI: two shared cores,
Debian 12, CPython 3.11.7, one local mock server, the leanest chat mode of each, medians of 3 or 5.

`at` is the floor's figure of the same hour: what to compare is how many floors a program needs.
The first peer of a row is the one that needed least.
"""

from typing import Final

from bench.table import Peer

DATE: Final = "2026-11-21"
MACHINE: Final = "two shared cores, Debian 12, CPython 3.11.7"

VERSION: Final = Peer("claude-code 2.1.330", 0.016, 0.011)
HELP: Final = Peer("codex 0.169.0", 0.051, 0.011)
HELP_PEAK: Final = Peer("open-webui 0.12.4", 35.3, 8.43)
ASK_CPU: Final = Peer("codex 0.169.0", 0.20, 0.15)
ASK_REQUEST: Final = Peer("codex 0.169.0", 221.0, 122.0)
ASK_EXIT: Final = Peer("codex 0.169.0", 262.0, 146.0)
ASK_PEAK: Final = Peer("llm 0.36", 65.7, 28.1)
BURST_PIPE: Final = Peer("codex 0.169.0", 0.33, 0.32)
BURST_TERMINAL: Final = Peer("codex 0.169.0", 0.34, 0.33)

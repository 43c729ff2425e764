"""From what was seen of a server that does not run to the likely cause, and what to do next."""

import re
from typing import Final

from patina.mcp.auth.failing import SIGN_IN
from patina.mcp.causes_local import by_end, by_words
from patina.mcp.causes_remote import by_look, needs_sign_in
from patina.mcp.diagnosis import BEFORE_THE_START, log_hint
from patina.mcp.facts import Diagnosis, Facts
from patina.mcp.text import shortened, visible

UNSUPPORTED_VERSION: Final = -32022


def diagnose(facts: Facts) -> Diagnosis:
    """Return the likely cause. Always one: what is not known is told as it was seen."""
    failure = facts.failure
    if failure.code in BEFORE_THE_START:
        return Diagnosis(failure.code, failure.message, failure.hint)
    if failure.code == SIGN_IN:
        return needs_sign_in(facts)
    local = facts.settings.transport == "stdio"
    found = by_words(facts) if local else None
    if facts.look is not None:
        found = by_look(facts, facts.look)
    found = found or _answered(facts)
    if found is None and local:
        found = by_end(facts)
    return found or Diagnosis("unknown", failure.message, failure.hint or log_hint(facts.server))


def _answered(facts: Facts) -> Diagnosis | None:
    """Return what the answers of a server that speaks tell."""
    text = facts.failure.message
    asked = [one for one in facts.exchanges if one.method in ("initialize", "server/discover")]
    unsupported = any(one.error == UNSUPPORTED_VERSION for one in asked[-1:])
    if unsupported or re.search(r"(?i)unsupported protocol version|protocol version .* not", text):
        pinned = facts.settings.protocol_version
        hint = "Update the server, or Patina."
        if pinned != "auto":
            auto = f"`patina mcp edit {facts.server} --protocol-version auto`"
            hint = f"Its settings demand {pinned}: {auto}. {hint}"
        said = shortened(visible(asked[-1].message), 200) if asked and asked[-1].message else text
        return Diagnosis("protocol", f"It speaks no version of MCP that Patina knows: {said}", hint)
    listing = next((one for one in facts.exchanges[::-1] if one.method == "tools/list"), None)
    hint = f"That is a fault of the server: update it, or tell its author. {log_hint(facts.server)}"
    if listing is not None:
        if listing.error is not None:
            said = shortened(visible(listing.message), 300) or "no reason given"
            sentence = f"It answers, but cannot list its tools: {said} (error {listing.error})."
            return Diagnosis("tools_failed", sentence, hint)
        if listing.answered_ms is not None:
            return Diagnosis("tools_invalid", f"Its list of tools is not valid. {text}", hint)
        how = facts.words.partition(";")[0] or "did not answer"
        sentence = f"It answers, but not when it is asked for its tools: it {how}."
        return Diagnosis("tools_failed", sentence, hint)
    last = asked[-1] if asked else None
    if last is not None and last.error is not None and last.method == "initialize":
        said = shortened(visible(last.message), 300) or "no reason given"
        return Diagnosis("refused", f"It refuses to begin: {said} (error {last.error}).", hint)
    if last is not None and last.answered_ms is not None and last.method == "initialize":
        return Diagnosis("bad_answer", f"Its first answer is not valid. {text}", hint)
    return None

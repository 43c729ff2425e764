"""How rules are named, and what their globs mean for text that is to be met exactly."""

import re
from typing import Final

import msgspec

from patina.model.settings import PermissionRule

_ID_LENGTH: Final = 8
_NAME: Final = re.compile(rf"permissions\.rules\[([0-9a-f]{{{_ID_LENGTH}}})\]")
_SPECIAL: Final = re.compile(r"[*?[]")


def rule_id(rule: PermissionRule) -> str:
    """Return the id of `rule`: 8 hex digits made of what it says, wherever it stands."""
    from hashlib import sha256  # late: most runs match no rule

    return sha256(msgspec.json.encode(rule, order="deterministic")).hexdigest()[:_ID_LENGTH]


def rule_name(rule: PermissionRule) -> str:
    """Return `rule` as a decision names it: `permissions.rules[ID]`."""
    return f"permissions.rules[{rule_id(rule)}]"


def named_rule(name: str) -> str:
    """Return the id in what `rule_name` returned, "" where `name` is another decider."""
    match = _NAME.fullmatch(name)
    return match[1] if match else ""


def exact_glob(text: str) -> str:
    """Return the glob that matches `text` and nothing else."""
    return _SPECIAL.sub(r"[\g<0>]", text)

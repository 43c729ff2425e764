"""The rules about tools: in force, and in the configuration file."""

import anyio.to_thread
from msgspec.structs import replace

from patina.config.paths import Paths
from patina.model.faults import Fault
from patina.model.settings import PermissionRule, Settings
from patina.permission.gate import Policy, PolicyGate, auto_approving


class Rules:
    """Implements `ports.permission.RuleWriter`, and brings changes of the file to `gate`."""

    def __init__(self, paths: Paths, gate: PolicyGate) -> None:
        self._paths = paths
        self._gate = gate

    async def write(self, rule: PermissionRule) -> str:
        """As `RuleWriter.write`."""
        from patina.config.rules import add_rule

        written = await anyio.to_thread.run_sync(add_rule, self._paths, rule)
        await self.read_again()
        return written

    def follow(self, settings: Settings) -> None:
        """Put what `settings`, which were just read, say of tools in force."""
        self._gate.policy = Policy(
            settings=settings.permissions,
            approvals=self._gate.policy.approvals,
            auto_approve=auto_approving(settings),
        )

    async def read_again(self) -> bool:
        """Put the permissions of the file in force; where they are wrong, every call is denied.

        Return whether they are right.
        """
        from patina.config.rules import read_permissions

        try:
            read = await anyio.to_thread.run_sync(read_permissions, self._paths)
        except Fault as fault:
            self._gate.policy = replace(self._gate.policy, broken=str(fault))
            return False
        self._gate.policy = replace(self._gate.policy, settings=read, broken="")
        return True

"""Whatever is done in whatever order: the vault holds what a dictionary would."""

import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from tests.secrets.places import Computer

from patina.secrets.envelope import Home
from patina.secrets.raw_key import written_key

NAMES = st.sampled_from(["openai", "a", "github/TOKEN", "github/OTHER", "x.y-z_0"])
VALUES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)


class Twins(RuleBasedStateMachine):
    """A vault, another process with the same files, and a dictionary."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory(prefix="patina-vault-")
        self.computer = Computer(Path(self.folder.name) / "home")
        self.vaults = [self.computer.vault(), self.computer.vault(index=False)]
        self.secrets: dict[str, str] = {}
        self.records: dict[str, bytes] = {}
        self.keys = 0

    def teardown(self) -> None:
        self.folder.cleanup()

    @rule(vault=st.integers(0, 1), name=NAMES, value=VALUES)
    def set(self, vault: int, name: str, value: str) -> None:
        self.vaults[vault].set(name, value)
        self.secrets[name] = value

    @rule(vault=st.integers(0, 1), name=NAMES)
    def remove(self, vault: int, name: str) -> None:
        there = self.secrets.pop(name, None) is not None
        assert self.vaults[vault].remove(name) == there

    @rule(vault=st.integers(0, 1), name=NAMES, content=st.none() | st.binary(max_size=30))
    def change(self, vault: int, name: str, content: bytes | None) -> None:
        self.vaults[vault].change(f"@{name}", lambda _: content)
        self.records.pop(f"@{name}", None)
        if content is not None:
            self.records[f"@{name}"] = content

    @rule(vault=st.integers(0, 1), home=st.sampled_from([None, "file", "variable", "passphrase"]))
    def rekey(self, vault: int, home: Home | None) -> None:
        self.keys += 1
        before = self.vaults[vault].home()
        own = {"variable": "PATINA_KEY", "passphrase": "PATINA_PASSPHRASE"}
        target = home or before
        variable = own.get(target or "", "")
        new = f"{variable}_NEW" if before == target else variable
        key = written_key(self.keys.to_bytes(32, "big"))
        if variable:
            self.computer.environ[new] = key
        self.vaults[vault].rekey(home)
        if variable and before == target:
            self.computer.environ[variable] = self.computer.environ.pop(new)

    @rule()
    def restart(self) -> None:
        self.vaults = [self.computer.vault(), self.computer.vault(index=False)]

    @invariant()
    def they_are_the_same(self) -> None:
        for vault in self.vaults:
            assert {name: vault.get(name) for name in vault.names()} == self.secrets
            assert {name: vault.read(name) for name in vault.records()} == self.records


TestTwins = Twins.TestCase
TestTwins.settings = settings(max_examples=8, stateful_step_count=40, deadline=None)

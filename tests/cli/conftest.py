"""Stand-ins for `ask`: aimock as OpenAI and Azure, server-everything as an MCP server."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cli.support import home, patina
from tests.stand_ins import aimock

FIXTURES = Path(__file__).parent / "fixtures"
EVERYTHING = (
    Path(__file__).parents[1]
    / "node/node_modules/@modelcontextprotocol/server-everything/dist/index.js"
)


@pytest.fixture(scope="session")
def stand_in_url() -> Iterator[str]:
    with aimock(FIXTURES) as url:
        yield url


@pytest.fixture
def openai(stand_in_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """OpenAI is the stand-in."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test-canary-0123456789")
    monkeypatch.setenv("OPENAI_BASE_URL", f"{stand_in_url}/v1")
    return stand_in_url


@pytest.fixture
def azure(stand_in_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Azure OpenAI is the stand-in."""
    monkeypatch.setenv("LLM_PROVIDER", "azure_openai")
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", "azure-canary-0123456789")
    monkeypatch.setenv("AZURE_OPENAI_ENDPOINT", stand_in_url)
    monkeypatch.setenv("AZURE_OPENAI_API_VERSION", "2024-12-01-preview")
    monkeypatch.setenv("AZURE_OPENAI_DEPLOYMENT_NAME", "gpt-4o")
    return stand_in_url


@pytest.fixture
def everything() -> str:
    """The server "everything" is configured and may start."""
    assert EVERYTHING.exists(), "the Node stand-ins are not installed: run ./test"
    added = patina("mcp", "add", "everything", "--", "node", str(EVERYTHING), "stdio")
    assert added.returncode == 0, added.stderr
    return "everything"


def transcripts() -> list[Path]:
    """All transcripts of this test's Patina folder."""
    return sorted(home().glob("data/transcripts/*/*/*.jsonl"))

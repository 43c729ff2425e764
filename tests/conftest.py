"""What every test needs: one async backend, a private home, a clean environment."""

import os
from pathlib import Path

import pytest

_SCRUBBED = (
    "LLM_PROVIDER",
    "OPENAI_",
    "AZURE_OPENAI_",
    "ANTHROPIC_",
    "GEMINI_",
    "COHERE_",
    "HF_TOKEN",
    "GROQ_",
    "OPENROUTER_",
    "MISTRAL_",
    "DEEPSEEK_",
    "XAI_",
    "OLLAMA_",
    "PATINA_",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "http_proxy",
    "https_proxy",
    "all_proxy",
)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def clean_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(_SCRUBBED):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PATINA_HOME", str(tmp_path / "home"))
    # No test writes into the keychain of whoever runs it; those about keychains bring their own.
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.fail.Keyring")

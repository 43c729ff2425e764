"""Patina's provider layer alone, in the place of the bare loops: driver, events, print."""

import sys

import anyio

from patina.model.chat import ChatMessage, ChatRequest, TextDelta
from patina.model.parts import Text
from patina.model.settings import ProviderSettings, Settings
from patina.ports.clock import Clock
from patina.providers.http import HttpClient
from patina.providers.registry import ProviderRegistry


class NoKeys:
    """No secrets: the stand-in asks for none."""

    def get(self, name: str) -> str | None:
        """Return nothing."""
        del name
        return None

    def set(self, name: str, value: str) -> None:
        """Refuse."""
        raise NotImplementedError

    def remove(self, name: str) -> bool:
        """Refuse."""
        raise NotImplementedError

    def names(self) -> list[str]:
        """Return nothing."""
        return []


async def stream(port: str, clock: Clock) -> None:
    """Stream one answer to stdout."""
    settings = Settings(
        providers={
            "mock": ProviderSettings(
                kind="openai_compatible", base_url=f"http://127.0.0.1:{port}/v1"
            )
        }
    )
    http = HttpClient()
    driver = ProviderRegistry(settings, NoKeys(), http, clock).driver("mock")
    request = ChatRequest(
        model="gpt-5.2", messages=(ChatMessage("user", (Text("hello"),)),), system="Be brief."
    )
    async for event in driver.stream(request):
        if isinstance(event, TextDelta):
            sys.stdout.write(event.text)
            sys.stdout.flush()
    sys.stdout.write("\n")
    await http.aclose()


def main() -> None:
    """Run it."""
    from patina.engine.clock import SystemClock

    anyio.run(stream, sys.argv[1], SystemClock())


if __name__ == "__main__":
    main()

"""Downloads the published list of genai-prices; nobody but the user asks for it."""

from typing import Final

from patina.model.faults import ProviderFault
from patina.providers.http import BODY_LIMIT, HttpClient
from patina.providers.trouble import TransportError

PUBLISHED: Final = (
    "https://raw.githubusercontent.com/pydantic/genai-prices/refs/heads/main"
    "/prices/new_data/v2/data.json"
)
"""`DEFAULT_UPDATE_URL` of genai_prices.update_prices, version 0.2.3."""

_SECONDS: Final = 60.0
_KEPT: Final = "The prices stay as they were. Try again later."


async def download(http: HttpClient, url: str = PUBLISHED) -> bytes:
    """Return what is published at `url`. Raises `ProviderFault`."""
    try:
        answer = await http.get(url, limit=_SECONDS)
    except TransportError as error:
        raise ProviderFault(
            f"The list of prices could not be downloaded: {error.reason}.",
            hint=_KEPT,
            kind="timeout" if error.kind == "timeout" else "network",
        ) from None
    if answer.status != 200:
        raise ProviderFault(
            f"The list of prices could not be downloaded (HTTP {answer.status}).",
            hint=_KEPT,
            kind="server",
        )
    if len(answer.body) >= BODY_LIMIT:
        raise ProviderFault(
            f"The list of prices is larger than {BODY_LIMIT >> 20} MiB, which cannot be right.",
            hint=_KEPT,
            kind="server",
        )
    return answer.body

"""What a request used, and what that cost."""

from decimal import Decimal

from msgspec import Struct


class Usage(Struct, frozen=True):
    """Tokens of one request or of a sum of them.

    `input_tokens` is the total including cache reads and writes; `output_tokens` the total
    including reasoning.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.cache_read_tokens + other.cache_read_tokens,
            self.cache_write_tokens + other.cache_write_tokens,
            self.reasoning_tokens + other.reasoning_tokens,
        )


class Cost(Struct, frozen=True):
    """Money, never a float. `source` says where the price came from."""

    amount: Decimal
    source: str
    currency: str = "USD"
    estimated: bool = False

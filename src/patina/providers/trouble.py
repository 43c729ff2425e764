"""What goes wrong between here and an endpoint, below any protocol."""

from typing import Literal

TransportKind = Literal["network", "timeout", "cut", "server"]


class TransportError(Exception):
    """What went wrong below the protocol.

    "network": no answer began; "timeout": silence for too long; "cut": the connection was lost
    in the middle of the answer; "server": the answer breaks the rules of HTTP compression.
    `unsent` says that the request cannot have reached the endpoint.
    """

    def __init__(self, kind: TransportKind, reason: str, *, unsent: bool = False) -> None:
        super().__init__(reason)
        self.kind: TransportKind = kind
        self.reason = reason
        self.unsent = unsent

"""The person's side of a sign-in: who shows the page, and who brings the answer."""

from typing import Protocol

from patina.model.pages import Page


class Visitor(Protocol):
    """Brings a person to the page on which they sign in.

    Front ends implement it; `page.url` is already checked, and is the only thing to open.
    """

    async def visit(self, page: Page) -> bool:
        """Show where it goes and open it, if the person agrees. False: they do not.

        Returns once it is open, or shown for the person to open it; waits for nothing else.
        """

    async def pasted(self) -> str:
        """Return the address that the browser was sent to, where a person brings it by hand.

        Cancelled when the answer came by itself. Without such a way it never returns.
        """

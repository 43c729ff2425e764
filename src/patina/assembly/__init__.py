"""The one place that knows every concrete class."""

from patina.assembly.app import App, Setup, open_app

__all__ = ["App", "Setup", "open_app"]

"""The window: server-rendered pages."""

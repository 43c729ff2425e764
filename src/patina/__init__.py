"""Patina: a local-first chat client for many AI models."""

__version__ = "0.1.0"

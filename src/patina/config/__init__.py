"""Loads and saves the settings shapes of `model`; every value knows its source."""

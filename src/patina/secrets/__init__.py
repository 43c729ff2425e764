"""Keeps secrets, finds them by reference, and masks them wherever they might be shown."""

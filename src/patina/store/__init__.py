"""Transcripts are the truth: append-only files, blobs, locks, and a memory twin."""

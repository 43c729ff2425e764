"""Pure data: what Patina talks about. Imports nothing of ours and does no I/O."""

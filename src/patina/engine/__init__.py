"""Commands in, events out: conversations, turns, tools, the bus and recovery."""

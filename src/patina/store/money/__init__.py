"""The ledger: money in lines of its own, and an index over them that limits are checked with."""

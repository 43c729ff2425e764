"""Money: what a request may cost and what it did."""

"""What the engine needs of the world, as small Protocols. Adapters and fakes implement them."""

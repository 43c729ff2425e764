"""One folder per wire protocol, a catalog of brands, and a scripted stand-in."""

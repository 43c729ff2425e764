"""MCP servers: started, supervised, listed and called; all of the SDK is imported late."""

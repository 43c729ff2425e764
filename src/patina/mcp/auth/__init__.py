"""Signing in to servers: OAuth 2.1 as MCP has it, its tokens, and what people see of it."""

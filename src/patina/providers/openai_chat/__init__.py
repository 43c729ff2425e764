"""The wire protocol "OpenAI chat completions"."""

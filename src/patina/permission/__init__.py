"""Pure policy about tool calls: rules, the decision, the words of the question."""

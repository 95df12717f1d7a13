"""The SDK's clients: their HTTP, their calls and their errors."""

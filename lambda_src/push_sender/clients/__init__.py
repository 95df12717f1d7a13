"""The SDK's clients: their HTTP connections, calls and errors."""

"""The policy of the customer's key: the statements that the stack needs, and which are missing."""

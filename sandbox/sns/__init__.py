"""SNS in the sandbox: its resource types, and deliveries that do not disturb each other."""

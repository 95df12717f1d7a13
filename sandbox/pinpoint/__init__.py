"""The push service in the sandbox: SendMessages, channels, and device tokens with known answers."""

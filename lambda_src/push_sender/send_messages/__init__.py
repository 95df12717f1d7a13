"""Send through SendMessages: its client, its calls and its answers."""

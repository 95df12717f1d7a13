"""SendMessages, the one way of sending that there is: its client, its calls, its answers."""

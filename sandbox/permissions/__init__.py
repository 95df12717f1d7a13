"""What the function's role may do: its credentials, and a check in front of moto."""

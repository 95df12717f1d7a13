"""Idempotency: claims of keys, records of what was sent, and the table that holds them."""

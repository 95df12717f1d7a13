"""``make why``: which devices a user has, and what happened to each push to them."""

"""Same key, same effect: claims, the records of what was sent, and their table."""

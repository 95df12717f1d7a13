"""The doors: each takes what its callers hand in to the core, and answers in their way."""

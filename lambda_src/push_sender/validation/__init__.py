"""From what came in to a request that can be sent, or to everything wrong with it."""

"""Who takes part, each a file that knows its own packages and nothing of this repository.

Every one has a class as ``bench.player.Side`` describes it.
"""

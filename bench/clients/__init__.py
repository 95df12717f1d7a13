"""The clients. Each file imports its own packages and nothing else of this repository.

Its class is as ``bench.client_process.Client`` describes it.
"""

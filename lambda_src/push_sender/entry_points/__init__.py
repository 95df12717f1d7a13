"""Entry points: read requests from events, and turn reports into responses."""

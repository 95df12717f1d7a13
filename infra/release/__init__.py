"""Build a release: what ``make release`` writes for people who deploy without this repository."""

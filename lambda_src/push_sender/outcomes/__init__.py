"""Classify answers: the result of each address, and the codes that decide it."""

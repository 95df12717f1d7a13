"""Batches of recipients out, outcomes in, under one deadline."""

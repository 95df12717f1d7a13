"""Checks a request as a whole; ``request.field_types`` has the rules of single fields."""

"""The recipients of a request: sorted by service, and those listed twice."""

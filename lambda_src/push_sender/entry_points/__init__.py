"""Entry points: what callers hand in becomes a request, and what becomes of it an answer."""

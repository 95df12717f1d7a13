"""The request as a type, the services it can name, and its errors."""

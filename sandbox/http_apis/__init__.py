"""API Gateway's HTTP APIs: what answers where a template has put an API in front of a function."""

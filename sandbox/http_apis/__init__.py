"""API Gateway in the sandbox: HTTP APIs in front of functions."""

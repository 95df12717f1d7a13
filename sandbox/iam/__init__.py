"""IAM in the sandbox: credentials of roles, their policies, and a check in front of every call."""

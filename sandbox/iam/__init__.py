"""IAM in the sandbox: sessions and policies of roles, and a permission check of every call."""

"""KMS in the sandbox: keys that are named by their ARN."""

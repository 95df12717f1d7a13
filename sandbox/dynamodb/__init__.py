"""DynamoDB in the sandbox: atomic conditional writes, and the table's resource type."""

"""DynamoDB in the sandbox: conditional writes that are one step, and the table's resource type."""

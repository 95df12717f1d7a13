"""SQS in the sandbox: safe queues under many threads, message moves, and the resource types."""

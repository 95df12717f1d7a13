"""Follow up a send that no caller waits for: requeue, dead-letter messages, events."""

"""EventBridge in the sandbox: it delivers events to the targets of matching rules."""

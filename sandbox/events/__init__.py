"""EventBridge: from an event on a bus to the targets of the rules that it fits."""

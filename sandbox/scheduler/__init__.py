"""EventBridge Scheduler in the sandbox: one-time schedules that call their targets."""

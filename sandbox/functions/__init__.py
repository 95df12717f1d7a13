"""Lambda in the sandbox: functions run in processes, in AWS's own runtime client."""

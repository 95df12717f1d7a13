"""CloudWatch in the sandbox: alarms, dashboards and log groups, and safe log subscriptions."""

"""CloudWatch in the sandbox: the resource types of alarms, dashboards and log groups."""

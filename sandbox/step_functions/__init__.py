"""Step Functions in the sandbox: it runs state machines on moto's interpreter."""

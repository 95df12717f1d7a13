"""The project's stack in the sandbox: synthesized as the CDK does it, deployed, kept up to date."""

"""S3 in the sandbox: moto's, with buckets of a template."""

"""A local AWS for this stack: moto's server on loopback, and what moto lacks.

Nothing in here is deployed, and nothing here is needed by what is deployed.
"""

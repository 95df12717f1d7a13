"""The registry of devices: which device belongs to which user, and its token."""

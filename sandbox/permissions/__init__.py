"""Who asks, and what they may: credentials of roles, policies, and a check in front of moto."""

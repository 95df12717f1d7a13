"""The sandbox's issuer of tokens for JWT authorizers."""

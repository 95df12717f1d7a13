"""Commands for a person who has deployed the stack, run with their own AWS credentials.

They know the stack by its outputs and the function by its contract; they share no code with
either, so that they can tell when one of the two is wrong.
"""

"""Commands for the operator of a deployed stack: ``make smoke``, ``make redrive``, ``make why``.

They use the operator's own AWS credentials. They know the stack by its outputs and the function
by its contract, and share no code with either, so that they can find mistakes in both.
"""

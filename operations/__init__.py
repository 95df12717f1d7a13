"""Commands for the operator of a deployed stack, such as ``make smoke`` and ``make job``.

They use the operator's own AWS credentials. They know the stack by its outputs and the function
by its contract, and share no code with either, so that they can find mistakes in both. Only
``jobs`` reads files and checks requests with the function's code, because its preview must show
what the function will do.
"""

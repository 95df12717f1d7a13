"""The deployment side: the bundle of the function and the stack that runs it."""

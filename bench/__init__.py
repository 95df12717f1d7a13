"""What the function costs beside bare boto3, measured on this machine: ``python -m bench``.

Every figure is a ratio of two things measured in turn in the same run, because seconds
alone say more about the machine and its other users than about the code. Nothing here
passes or fails: the tests guard counts, and a person reads the figures.
"""

"""The benchmark: the costs of the function compared with bare boto3's: ``python -m bench``.

Read the ratios of two clients measured in turn. Seconds depend on the machine and its other users
as much as on the code. Nothing here passes or fails; the tests check counts.
"""

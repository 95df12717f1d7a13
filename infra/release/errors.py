"""The error of a release that cannot be built."""


class ReleaseError(Exception):
    """The release cannot be built; the message says why and the cure."""

"""The errors of a job's steps. Step Functions retries some of them, by name."""

from __future__ import annotations


class SourceChanged(Exception):  # noqa: N818  the contract's name; callers match on it
    """The file is no longer the one that the job began with. Nothing of it was sent since."""

    def __init__(self) -> None:
        super().__init__(
            "source: the file was replaced or deleted while the job ran, or may no longer be read; "
            "start a new job with the rows that are left"
        )


class SourceUnavailable(Exception):  # noqa: N818  named like IdempotencyStoreUnavailable
    """The file could not be read, so nothing was sent.

    Attributes
    ----------
    reason
        The service's code or the exception's name, for logs.
    """

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(f"source: the file is out of reach ({reason})")


class JobStoreUnavailable(Exception):  # noqa: N818  named like IdempotencyStoreUnavailable
    """A job's counts, its index or its list of rows could not be written. To repeat is harmless.

    Attributes
    ----------
    reason
        The service's code or the exception's name, for logs.
    """

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(f"job: what it keeps is out of reach ({reason})")


class JobConflict(Exception):  # noqa: N818  the contract's name; callers match on it
    """The name stands for another job already. Nothing was sent."""

    def __init__(self) -> None:
        super().__init__(
            "job: the name was used for another job or file within 30 days; give this job a name "
            "of its own"
        )


class MostlyRefused(Exception):  # noqa: N818  the contract's name; callers match on it
    """Over half of the pushes of some rows were rejected or misconfigured.

    The message or the channel is wrong, and to go on would only repeat that.
    """

    def __init__(self, refused: int, sent_to: int) -> None:
        super().__init__(
            f"job: {refused:,} of {sent_to:,} pushes were rejected or misconfigured; the results "
            "name the reasons"
        )


class OutOfTime(Exception):  # noqa: N818  the contract's name; callers match on it
    """The time of the invocation did not suffice. What was done stands; to repeat is harmless."""

    def __init__(self) -> None:
        super().__init__("job: the time of this step did not suffice")

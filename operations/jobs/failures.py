"""Why a job failed, and what to do, by the name of the error."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from operations.jobs.executions import Progress

_REDRIVE: Final = "Redrive the job: it continues, and sends to no row twice."
_NEW_JOB: Final = "run a new job with another name"

CURES: Final[Mapping[str, str]] = {
    "InvalidRequest": f"Correct this and {_NEW_JOB}.",
    "MostlyRefused": "Over half of the pushes of one child (up to 1,000 rows) were rejected or "
    "misconfigured, so the job stopped. The results say why. If a channel or a credential is "
    f"wrong, correct it and redrive the job. If the message is wrong, correct it and {_NEW_JOB}.",
    "SourceChanged": "The file in the bucket was changed or deleted while the job read it, so no "
    "further row is sent. Its results tell which rows had no push; the rows that no child has "
    f"counted got none. Do not write to uploads/ while a job runs, and {_NEW_JOB} for the rest.",
    "SourceUnavailable": f"The file could not be read from the bucket. {_REDRIVE}",
    "JobConflict": f"Another job with this name, for another file, ran within 30 days: {_NEW_JOB}.",
    "IdempotencyConflict": "Another version of the function, deployed while the job ran, reads "
    "these rows in another way, so they get no push. Look at the counts, and "
    f"{_NEW_JOB} for the rows that are left.",
    "JobStoreUnavailable": f"The counts could not be stored. {_REDRIVE}",
    "IdempotencyInProgress": f"Another invocation was still sending the same rows. {_REDRIVE}",
    "IdempotencyStoreUnavailable": f"The table of keys was out of reach. {_REDRIVE}",
    "RegistryUnavailable": f"The registry of devices was out of reach. {_REDRIVE}",
    "QueueUnavailable": f"The request queue was out of reach. {_REDRIVE}",
    "OutOfTime": f"A child had too little time. {_REDRIVE}",
    "States.ExceedToleratedFailureThreshold": "More children failed than are tolerated. The Map "
    "run in the console of Step Functions lists them.",
    "States.ItemReaderFailed": "Step Functions could not read the list of children. Has the state "
    "machine's role been changed? Deploy the stack again, and redrive the job.",
    "States.ResultWriterFailed": "Step Functions could not write to the bucket. Has the state "
    "machine's role been changed? Deploy the stack again, and redrive the job.",
    "States.Permissions": "The state machine's role lacks a permission. Deploy the stack "
    "again, and redrive the job.",
    "States.Timeout": f"A step took too long. {_REDRIVE}",
}

OTHERWISE: Final = (
    "Look at the log of the function and at the execution in the console of Step Functions. If the "
    "reason is gone, redrive the job."
)
"""For an error that is not listed, such as one of Lambda."""


def cure(error: str, progress: Progress) -> str:
    """Say what to do about an error of a job that came so far."""
    text = CURES.get(error, OTHERWISE)
    if error != "InvalidRequest":
        return text
    if progress.rows is None:  # the index found it, before the first child
        return f"Nothing was sent or registered. {text}"
    return (
        f"The request is wrong for some rows further down. {progress.done:,} other rows are done. "
        f"{text} Leave out the rows that are done: docs/jobs.md, If a job fails."
    )


FINAL: Final = frozenset({"InvalidRequest", "SourceChanged", "JobConflict", "IdempotencyConflict"})
"""Errors that a redrive meets again."""

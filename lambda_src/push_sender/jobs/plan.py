"""The input of a job's execution, the plan that its children get, and their pace."""

from __future__ import annotations

import json
import math
import random
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, Literal, Self, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import PydanticCustomError

from push_sender.jobs.files import Layout
from push_sender.request.errors import (
    Finding,
    InvalidRequest,
    describe,
    kind_of,
    path_of,
    unknown_field,
)
from push_sender.request.field_types import Text

REQUEST_BYTES: Final = 200_000
"""Maximum size of ``request`` as JSON: Step Functions takes 256 KiB from state to state."""

PLAN_BYTES: Final = 240_000
"""Maximum size of a plan: the rest is for the range and the names around both."""

MAX_TOKENS_PER_SECOND: Final = 20_000
"""20 children a second. Each adds to the one item of the job in a transaction. DynamoDB refuses one
that meets another on the same item, so at 50 a second they would mostly retry."""

_TOKENS_A_CHILD: Final = 100
"""Tokens a second of one child: 1,000 rows in 10 seconds."""

_DEFAULT_PACE: Final = {"send": 5_000, "register_devices": 500}

_FORMATS: Final = {".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl"}
"""The format by the end of a key."""

_NOT_IN_A_REQUEST: Final = {
    "recipient": "the rows of the file are the recipients",
    "recipients": "the rows of the file are the recipients",
    "idempotency_key": "each row is sent once by the name of the job",
    "requeue": "a job always requeues what cannot be sent now",
    "dry_run": "set dry_run of the job",
    "send_at": "start the job at that time",
}
"""The members of a request that a job decides, and what to do instead."""

Action = Literal["send", "register_devices"]


def _job_name(value: str) -> str:
    if not re.fullmatch("[A-Za-z0-9_-]{1,80}", value):
        raise PydanticCustomError(
            "request_rule", "must be 1 to 80 of letters, digits, _ and -, as the execution's name"
        )
    return value


def _key(value: str) -> str:
    if len(value.encode()) > 1_024:
        raise PydanticCustomError("request_rule", "must be at most 1,024 bytes")
    return value


def _bucket(value: str) -> str:
    # Amazon S3 User Guide, "General purpose bucket naming rules". Also refuses ARNs.
    if not re.fullmatch("[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", value):
        raise PydanticCustomError("request_rule", "must be the name of a bucket")
    return value


_JobName = Annotated[str, AfterValidator(_job_name)]
_Key = Annotated[Text, Field(min_length=1), AfterValidator(_key)]


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", hide_input_in_errors=True)


class Source(_Strict):
    """The file of a job, as its input names it."""

    key: _Key
    format: Literal["csv", "jsonl"] | None = None
    bucket: Annotated[str, AfterValidator(_bucket)] | None = None


class JobInput(_Strict):
    """The input of a job's execution."""

    job: _JobName
    action: Action = "send"
    source: Source
    request: dict[str, Any] | None = None
    tokens_per_second: Annotated[int, Field(ge=20, le=MAX_TOKENS_PER_SECOND)] | None = None
    tolerated_failure_percentage: Annotated[float, Field(ge=0, le=100)] = 0.0
    dry_run: bool = False
    ignore_opt_out: bool = False
    application_id: Text | None = None

    @classmethod
    def of(cls, value: object, execution: str) -> Self:
        """Check the input of an execution.

        Parameters
        ----------
        value
            The input, parsed JSON of any kind.
        execution
            The execution's name.

        Raises
        ------
        InvalidRequest
            With every error.
        """
        checked = _checked(cls, _without_null(value), "input")
        errors = [*checked._errors_of_request()]
        if checked.job != execution:
            errors.append(Finding("job", "must be the name of the execution"))
        if checked.source.format is None and _format_of(checked.source.key) is None:
            message = f"is missing, and the key does not end with one of {', '.join(_FORMATS)}"
            errors.append(Finding("source.format", message))
        if errors:
            raise InvalidRequest(errors)
        return checked

    @property
    def format(self) -> str:
        """The format of the file."""
        return self.source.format or _format_of(self.source.key) or ""

    @property
    def pace(self) -> int:
        """Tokens a second, or rows a second of an import."""
        return self.tokens_per_second or _DEFAULT_PACE[self.action]

    @property
    def project(self) -> str | None:
        """The project that is asked for; None for the default one."""
        own = (self.request or {}).get("application_id")
        return self.application_id or own

    def _errors_of_request(self) -> list[Finding]:
        if self.action == "register_devices":
            return (
                []
                if self.request is None
                else [Finding("request", "has no place in an import; leave it out")]
            )
        if self.request is None:
            return [Finding("request", "is missing")]
        errors = [
            Finding(f"request.{name}", f"has no place in a job: {cure}")
            for name, cure in _NOT_IN_A_REQUEST.items()
            if name in self.request
        ]
        own = self.request.get("application_id")
        if None not in (own, self.application_id) and own != self.application_id:
            errors.append(Finding("application_id", "differs from that of the request; give one"))
        try:
            is_too_large = _size(self.request) > REQUEST_BYTES
        except RecursionError:
            errors.append(Finding("request", "is nested too deeply"))
        else:
            if is_too_large:
                message = f"must be at most {REQUEST_BYTES:,} bytes of JSON"
                errors.append(Finding("request", message))
        return errors


class PlannedSource(_Strict):
    """The file of a job, as it was found."""

    bucket: str
    key: str
    etag: str
    format: Literal["csv", "jsonl"]
    delimiter: str
    columns: list[str]


class Pass(_Strict):
    """What a pass over the file hands on to the next one: where it is, and its last range's end."""

    is_complete: bool = False
    position: Annotated[int, Field(ge=0)]
    rows: Annotated[int, Field(ge=0)]
    end: Annotated[int, Field(ge=0)] = 0
    source: PlannedSource | None = None

    @classmethod
    def of(cls, value: object) -> Self:
        """Check what the pass before handed on.

        Raises
        ------
        InvalidRequest
            If the index step did not write it.
        """
        return _checked(cls, value, "pass")


class Plan(_Strict):
    """All that the children of a job need to know."""

    job: _JobName
    action: Action
    application_id: str
    source: PlannedSource
    request: dict[str, Any] | None = None
    tokens_per_second: Annotated[int, Field(ge=1)]
    children: Annotated[int, Field(ge=1)]
    dry_run: bool
    ignore_opt_out: bool
    results_prefix: str

    @classmethod
    def of(cls, value: object) -> Self:
        """Check the plan in the payload of a child.

        Raises
        ------
        InvalidRequest
            If the index step did not write it.
        """
        return _checked(cls, value, "plan")

    @classmethod
    def made(cls, given: JobInput, source: PlannedSource, application_id: str) -> Self:
        """Make the plan of a job.

        Raises
        ------
        InvalidRequest
            If it is larger than Step Functions takes.
        """
        plan = cls(
            job=given.job,
            action=given.action,
            application_id=application_id,
            source=source,
            request=given.request,
            tokens_per_second=given.pace,
            children=children(given.pace),
            dry_run=given.dry_run,
            ignore_opt_out=given.ignore_opt_out,
            results_prefix=f"jobs/{given.job}/map",
        )
        if _size(plan.model_dump()) > PLAN_BYTES:
            message = f"with the columns of the file it passes {PLAN_BYTES:,} bytes; shorten it"
            raise InvalidRequest([Finding("request", message)])
        return plan

    @property
    def layout(self) -> Layout:
        """How the rows are written; it begins with the rows themselves."""
        source = self.source
        return Layout(source.format, source.delimiter, tuple(source.columns), 0)


class RowRange(_Strict):
    """The rows of one child, an item of the index."""

    start: Annotated[int, Field(ge=0)]
    end: Annotated[int, Field(ge=1)]
    first_row: Annotated[int, Field(ge=1)]
    wait: Annotated[int, Field(ge=0)]

    @classmethod
    def of(cls, value: object) -> Self:
        """Check the range in the payload of a child.

        Raises
        ------
        InvalidRequest
            If the index step did not write it.
        """
        return _checked(cls, value, "range")


def children(tokens_per_second: int) -> int:
    """Return how many children run at once."""
    return max(1, math.ceil(tokens_per_second / _TOKENS_A_CHILD))


def slot_seconds(rows: int, tokens_per_second: int) -> float:
    """Return how long a child may take, so that all at once keep the pace."""
    return children(tokens_per_second) * rows / tokens_per_second


def wait_before(item: int, rows: int, tokens_per_second: int) -> int:
    """Return the seconds that a child waits before its send, so that starts are spread.

    Parameters
    ----------
    item
        The number of the child, from 0.
    rows, tokens_per_second
        As for ``slot_seconds``.
    """
    number = children(tokens_per_second)
    return math.floor(item % number / number * slot_seconds(rows, tokens_per_second))


def wait_after(rows: int, tokens_per_second: int, *, waited: int, seconds: float) -> int:
    """Return the seconds that a child waits after its send, so that its slot is used up.

    They are rounded at random, so that their mean is right.

    Parameters
    ----------
    rows, tokens_per_second
        As for ``slot_seconds``.
    waited
        The seconds that it waited before.
    seconds
        The seconds in the function.
    """
    left = slot_seconds(rows, tokens_per_second) - waited - seconds
    return max(math.floor(left + random.random()), 0)  # noqa: S311  a pace, not a secret


def _format_of(key: str) -> str | None:
    return next((format_ for end, format_ in _FORMATS.items() if key.lower().endswith(end)), None)


def _size(value: object) -> int:
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return len(text.encode(errors="surrogatepass"))  # JSON can hold half of a surrogate pair


_Model = TypeVar("_Model", bound=BaseModel)


def _checked(model: type[_Model], value: object, name: str) -> _Model:
    """Check an object against a model."""
    if not isinstance(value, dict):
        raise InvalidRequest([Finding(name, f"must be an object, not {kind_of(value)}")])
    try:
        return model.model_validate(value)
    except ValidationError as error:
        errors = error.errors(include_url=False)
    raise InvalidRequest([_finding(each) for each in errors])


def _without_null(value: object, depth: int = 1) -> object:
    """Leave out the members that are null, also those of ``source``, as a request may have them."""
    if not isinstance(value, dict):
        return value
    return {
        name: _without_null(each, depth - 1) if depth and name == "source" else each
        for name, each in value.items()
        if each is not None
    }


def _finding(error: Any) -> Finding:
    place, field = "", ""
    for each in error["loc"]:
        if isinstance(each, str):
            place, field = path_of(place, each), each
        else:
            place = f"{place}[{each}]"
    if error["type"] == "extra_forbidden":
        return Finding(place, unknown_field(field, _KNOWN, place.rpartition(".")[0]))
    return Finding(place, describe(error, field))


_KNOWN: Final[Mapping[str, Sequence[str]]] = {
    **{name: [f"source.{name}"] for name in Source.model_fields},
    **{name: [name] for name in JobInput.model_fields},
}
"""The paths of the members of an input, by their names."""

"""Read a state machine's definition, and refuse by name what the sandbox does not run.

Tables list every field that is supported. moto's own parser checks the rest of the syntax.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Set
from functools import lru_cache
from typing import Any, Final, cast

from moto.stepfunctions.parser.asl.component.program.program import Program
from moto.stepfunctions.parser.asl.parse.asl_parser import AmazonStateLanguageParser

from sandbox.step_functions.errors import InvalidDefinitionError

_ANY: Final = {"Type", "Comment", "InputPath", "OutputPath"}
_FLOW: Final = {*_ANY, "Next", "End"}
_RESULT: Final = {"ResultPath", "ResultSelector", "Retry", "Catch"}

_FIELDS_OF_STATES: Final[Mapping[str, Set[str]]] = {
    "Task": {
        *(*_FLOW, *_RESULT),
        *("Resource", "Parameters", "TimeoutSeconds", "TimeoutSecondsPath"),
    },
    "Choice": {*_ANY, "Choices", "Default"},
    "Wait": {*_FLOW, "Seconds", "SecondsPath"},
    "Pass": {*_FLOW, "Result", "ResultPath", "Parameters"},
    "Succeed": _ANY,
    "Fail": {"Type", "Comment", "Error", "ErrorPath", "Cause", "CausePath"},
    "Map": {
        *(*_FLOW, *_RESULT, "Label", "ItemsPath"),
        *("ItemReader", "ItemSelector", "ItemProcessor", "ResultWriter"),
        *("MaxConcurrency", "MaxConcurrencyPath"),
        *("ToleratedFailurePercentage", "ToleratedFailurePercentagePath"),
        *("ToleratedFailureCount", "ToleratedFailureCountPath"),
    },
}

_MACHINE: Final = {"Comment", "StartAt", "States", "TimeoutSeconds", "Version"}

# Objects within a state, by the field that holds them; a list has such objects.
_FIELDS_OF_OBJECTS: Final[Mapping[str, Set[str]]] = {
    "Retry": {
        *("ErrorEquals", "IntervalSeconds", "MaxAttempts", "Comment"),
        *("BackoffRate", "MaxDelaySeconds", "JitterStrategy"),
    },
    "Catch": {"ErrorEquals", "Next", "ResultPath", "Comment"},
    "ItemReader": {"Resource", "ReaderConfig", "Parameters"},
    "ReaderConfig": {"InputType"},
    "ItemProcessor": {"ProcessorConfig", "StartAt", "States", "Comment"},
    "ProcessorConfig": {"Mode", "ExecutionType"},
    "ResultWriter": {"Resource", "Parameters"},
}

# Where a field must have one value; the resources without their partition.
_ONLY_VALUES: Final[Mapping[tuple[str, str], str]] = {
    ("Task", "Resource"): ":states:::lambda:invoke",
    ("ItemReader", "Resource"): ":states:::s3:getObject",
    ("ResultWriter", "Resource"): ":states:::s3:putObject",
    ("ReaderConfig", "InputType"): "JSON",
    ("ProcessorConfig", "Mode"): "DISTRIBUTED",
    ("ProcessorConfig", "ExecutionType"): "EXPRESS",
}

_NEEDED: Final[Mapping[str, Set[str]]] = {
    "Task": {"Resource", "Parameters"},
    "Map": {"ItemProcessor"},
    "ItemReader": {"Resource", "ReaderConfig", "Parameters"},
    "ReaderConfig": {"InputType"},
    "ItemProcessor": {"ProcessorConfig", "StartAt", "States"},
    "ProcessorConfig": {"Mode", "ExecutionType"},
    "ResultWriter": {"Resource", "Parameters"},
}

_PARAMETERS: Final[Mapping[str, Set[str]]] = {
    "Task": {"FunctionName", "Payload", "Qualifier"},
    "ItemReader": {"Bucket", "Key"},
    "ResultWriter": {"Bucket", "Prefix"},
}

_PARTITION: Final = re.compile(r"^arn:[\w-]+(?=:states:::)")


def check(definition: str) -> None:
    """Check a definition as a whole.

    Raises
    ------
    InvalidDefinitionError
        If it is malformed, or has something that the sandbox does not support. The message names
        the state and the field, and no value but the name of an unsupported kind.
    """
    try:
        program(definition)
    except InvalidDefinitionError:
        raise
    except Exception as error:  # noqa: BLE001  moto's parser raises errors of many types
        raise InvalidDefinitionError(f"Invalid State Machine Definition: {error}") from None


@lru_cache(maxsize=16)
def program(definition: str) -> Program:
    """Return the checked program of a definition; it keeps nothing of its executions."""
    machine = json.loads(definition)
    if not isinstance(machine, dict):
        raise InvalidDefinitionError("Invalid State Machine Definition: not an object")
    _check_fields("the state machine", machine, _MACHINE)
    _check_states(machine, within_map=False)
    parsed, _ = AmazonStateLanguageParser.parse(json.dumps(machine))
    return cast(Program, parsed)


def _check_states(machine: Mapping[str, Any], *, within_map: bool) -> None:
    states: Mapping[str, Any] = machine["States"]
    for target in [machine["StartAt"], *_targets(states)]:
        if target not in states:
            raise InvalidDefinitionError(
                message=f"Invalid State Machine Definition: MISSING_TRANSITION_TARGET: {target}"
            )
    for name, state in states.items():
        kind = state.get("Type")
        if kind not in _FIELDS_OF_STATES or (kind == "Map" and within_map):
            _refuse(f"a state of type {kind}{' in a Map' if within_map else ''}", name)
        _check_fields(name, state, _FIELDS_OF_STATES[kind])
        _check_object(name, kind, state)
        if kind == "Map":
            if ("ItemReader" in state) == ("ItemsPath" in state):
                _refuse("a Map without ItemReader or ItemsPath, or with both", name)
            _check_states(state["ItemProcessor"], within_map=True)
            _adapt_to_moto(state)


def _check_object(state: str, kind: str, value: dict[str, Any]) -> None:
    """Check the objects in an object of a state, and in it the fields with fixed values."""
    missing = _NEEDED.get(kind, set()) - value.keys()
    if missing:
        _refuse(f"{kind} without {', '.join(sorted(missing))}", state)
    for field, inner in value.items():
        only = _ONLY_VALUES.get((kind, field))
        if only is not None and _PARTITION.sub("", str(inner)) != only:
            _refuse(f"{field} {inner}", state)
        if field in _FIELDS_OF_OBJECTS:
            for each in inner if isinstance(inner, list) else [inner]:
                _check_fields(state, each, _FIELDS_OF_OBJECTS[field])
                _check_object(state, field, each)
        elif field == "Parameters" and kind in _PARAMETERS:
            plain = {name.removesuffix(".$"): None for name in inner}
            _check_fields(state, plain, _PARAMETERS[kind])


def _check_fields(state: str, value: Mapping[str, Any], supported: Set[str]) -> None:
    for field in value:
        if field not in supported:
            _refuse(field, state)


def _refuse(what: str, state: str) -> None:
    raise InvalidDefinitionError(f"The sandbox does not support {what} ({state}).")


def _targets(node: Any) -> Iterator[str]:
    """Find the names of following states, not in the states of a Map."""
    for field, value in node.items() if isinstance(node, dict) else enumerate(node):
        if field in ("Next", "Default") and isinstance(value, str):
            yield value
        elif isinstance(value, (dict, list)) and field not in (
            *("ItemProcessor", "ItemSelector", "Parameters", "Result", "ResultSelector"),
        ):
            yield from _targets(value)


def _adapt_to_moto(state: dict[str, Any]) -> None:
    """Write what moto's grammar does not have in a way that it has; ``map_state`` runs it."""
    del state["ItemProcessor"]["ProcessorConfig"]["ExecutionType"]
    if "ToleratedFailurePercentage" in state:
        state["ToleratedFailurePercentage"] = float(state["ToleratedFailurePercentage"])

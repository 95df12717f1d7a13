"""The patches of moto's Step Functions."""

from __future__ import annotations

import logging
from collections import deque
from functools import lru_cache
from typing import Any, Final

from jsonpath_ng.ext.parser import parse
from moto.stepfunctions import responses as moto_responses
from moto.stepfunctions.parser.asl.component.common.error_name.error_equals_decl import (
    ErrorEqualsDecl,
)
from moto.stepfunctions.parser.asl.component.eval_component import EvalComponent
from moto.stepfunctions.parser.asl.component.program import program as programs
from moto.stepfunctions.parser.asl.component.state import state
from moto.stepfunctions.parser.asl.component.state.exec import execute_state
from moto.stepfunctions.parser.asl.component.state.exec.state_task import lambda_eval_utils
from moto.stepfunctions.parser.asl.component.state.exec.state_task.service import (
    state_task_service,
)
from moto.stepfunctions.parser.asl.parse import preprocessor
from moto.stepfunctions.parser.asl.utils import json_path
from moto.stepfunctions.responses import StepFunctionResponse

from sandbox.patches import Patch
from sandbox.step_functions import responses, tasks
from sandbox.step_functions.map_state import DistributedMap
from sandbox.step_functions.quotas import within_limit
from sandbox.step_functions.run_details import Surroundings
from sandbox.step_functions.service import StateMachines

_NO_THREADS: Final[deque[Any]] = deque(maxlen=0)
"""moto keeps every thread for ever, in a list of which each module has the name."""

_UNCAUGHT_BY_ALL: Final = ("States.DataLimitExceeded", "States.Runtime")
"""Errors that ``States.ALL`` does not match (developer guide, "Handling errors")."""

_LOGGER: Final = logging.getLogger("moto.stepfunctions")
_LOGGER.addHandler(logging.NullHandler())

_ORIGINAL_MATCH: Final = ErrorEqualsDecl._eval_body

_UNSUPPORTED: Final = (
    "start_sync_execution",
    "send_task_success",
    "send_task_failure",
    "send_task_heartbeat",
    "create_activity",
    "test_state",
)


def _match(self: ErrorEqualsDecl, env: Any) -> None:
    error = env.stack[-1]
    if error is not None and error.error_name in _UNCAUGHT_BY_ALL:
        env.stack[-1] = error in self.error_names
        return
    _ORIGINAL_MATCH(self, env)


PATCHES: Final = (
    Patch(moto_responses, "get_backend", responses.backend_of),
    *(
        Patch(StepFunctionResponse, method.__name__, method)
        for method in (
            responses.describe_execution,
            responses.redrive_execution,
            responses.stop_execution,
        )
    ),
    *(Patch(StepFunctionResponse, name, responses.refused(name)) for name in _UNSUPPORTED),
    Patch(preprocessor, "StateMap", DistributedMap),
    Patch(lambda_eval_utils, "execute_lambda_function_integration", tasks.invoke),
    Patch(ErrorEqualsDecl, "_eval_body", _match),
    *(
        Patch(module, "is_within_size_quota", within_limit)
        for module in (state, state_task_service)
    ),
    *(Patch(module, "TMP_THREADS", _NO_THREADS) for module in (programs, execute_state)),
    # moto builds a parser for each path that it reads.
    Patch(json_path, "parse", lru_cache(maxsize=1024)(parse)),
    # moto logs the data of every state that fails.
    Patch(_LOGGER, "propagate", False),
    *(
        Patch(EvalComponent, name, lambda *_, **_named: None)
        for name in ("_log_exception", "_log_failure_event_exception")
    ),
)


def patches(surroundings: Surroundings) -> list[Patch]:
    """List the patches with which executions run functions."""
    return [Patch(StateMachines, "surroundings", surroundings)]

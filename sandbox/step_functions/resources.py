"""State machines as a resource of a template."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from moto.stepfunctions.models import StateMachine as MotoMachine

from sandbox.cloudformation.resource import Resource, ResourceFailedError, is_true
from sandbox.step_functions.service import StateMachines, state_machines

_SUPPORTED: Final = {
    *("DefinitionString", "Definition", "DefinitionSubstitutions", "RoleArn"),
    *("StateMachineName", "StateMachineType", "LoggingConfiguration"),
    *("TracingConfiguration", "Tags"),
}
_SUBSTITUTED: Final = re.compile(r"\$\{([A-Za-z0-9_-]+)\}")


class StateMachine(Resource):
    """A state machine of type STANDARD."""

    type_name = "AWS::StepFunctions::StateMachine"
    name_property = "StateMachineName"
    longest_name = 80
    required = ("RoleArn",)
    replaced_by = ("StateMachineName", "StateMachineType")
    attribute_names = ("Arn", "Name")

    _machine: MotoMachine

    def create(self) -> None:
        """Make it."""
        self._refuse_unsupported()
        arn = f":stateMachine:{self.name}"
        if any(machine.arn.endswith(arn) for machine in self._backend.state_machines):
            raise ResourceFailedError(f"{self.name} already exists")
        self._machine = self._backend.create_state_machine(
            self.name,
            self._definition(),
            self.properties["RoleArn"],
            loggingConfiguration=self._logging(),
            tracingConfiguration=self._tracing(),
        )
        self._tag()

    def change(self, before: Mapping[str, Any]) -> None:
        """Change everything except its name; executions that run stay as they are."""
        self._refuse_unsupported()
        self._backend.update_state_machine(
            self._machine.arn,
            self._definition(),
            role_arn=self.properties["RoleArn"],
            logging_configuration=self._logging(),
            tracing_configuration=self._tracing(),
        )
        self._tag()

    def remove(self) -> None:
        """Remove it, and stop its executions."""
        self._backend.delete_state_machine(self._machine.arn)

    @property
    def physical_resource_id(self) -> str:
        """Its ARN."""
        return self._machine.arn

    def attributes(self) -> Mapping[str, str]:
        """Return its ARN and name."""
        return {"Arn": self._machine.arn, "Name": self.name}

    def _refuse_unsupported(self) -> None:
        unsupported = sorted(self.properties.keys() - _SUPPORTED)
        if unsupported:
            raise ResourceFailedError(f"The sandbox does not support {', '.join(unsupported)}.")
        if self.properties.get("StateMachineType", "STANDARD") != "STANDARD":
            raise ResourceFailedError("The sandbox does not support StateMachineType EXPRESS.")
        if ("DefinitionString" in self.properties) == ("Definition" in self.properties):
            raise ResourceFailedError(f"{self.type_name} needs DefinitionString or Definition.")

    def _definition(self) -> str:
        text = self.text("Definition" if "Definition" in self.properties else "DefinitionString")
        values = self.properties.get("DefinitionSubstitutions", {})
        # Within a JSON text; what has no value stays, as in AWS.
        return _SUBSTITUTED.sub(
            lambda found: (
                json.dumps(str(values[found[1]]))[1:-1] if found[1] in values else found[0]
            ),
            text,
        )

    def _logging(self) -> dict[str, Any]:
        own = self.properties.get("LoggingConfiguration", {})
        destinations = [
            {
                "cloudWatchLogsLogGroup": {
                    "logGroupArn": each["CloudWatchLogsLogGroup"]["LogGroupArn"]
                }
            }
            for each in own.get("Destinations", [])
        ]
        return {
            "level": own.get("Level", "OFF"),
            "includeExecutionData": is_true(own.get("IncludeExecutionData", False)),
            "destinations": destinations,
        }

    def _tracing(self) -> dict[str, Any]:
        own = self.properties.get("TracingConfiguration", {})
        return {"enabled": is_true(own.get("Enabled", False))}

    def _tag(self) -> None:
        tagger, arn = self._backend.tagger, self._machine.arn
        tagger.delete_all_tags_for_resource(arn)
        tagger.tag_resource(arn, [{"key": key, "value": self.tags[key]} for key in self.tags])

    @property
    def _backend(self) -> StateMachines:
        backend: StateMachines = state_machines[self.account_id][self.region]
        return backend


RESOURCE_TYPES: Final[list[type[Resource]]] = [StateMachine]

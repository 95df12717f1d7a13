"""The settings of a function's process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class FunctionSettings:
    """The settings of a process; if one changes, a new process is needed."""

    account_id: str
    region: str
    name: str
    version: str
    handler: str
    runtime: str
    role: str
    memory: int
    timeout: float
    code_sha256: str
    variables: Mapping[str, str] = field(default_factory=dict)
    logging: Mapping[str, str] = field(default_factory=dict)
    """The function's LoggingConfig, by AWS's names."""

    @property
    def log_group(self) -> str:
        """The group of the function's log."""
        return self.logging.get("LogGroup") or f"/aws/lambda/{self.name}"

    @property
    def logs_json(self) -> bool:
        """Whether the log is JSON."""
        return self.logging.get("LogFormat", "Text").upper() == "JSON"

    def reserved_variables(self) -> dict[str, str]:
        """Return the variables that Lambda sets and a function cannot change."""
        variables = {
            "_HANDLER": self.handler,
            "AWS_DEFAULT_REGION": self.region,
            "AWS_EXECUTION_ENV": f"AWS_Lambda_{self.runtime}",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(self.memory),
            "AWS_LAMBDA_FUNCTION_NAME": self.name,
            "AWS_LAMBDA_FUNCTION_VERSION": self.version,
            "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
            "AWS_LAMBDA_LOG_GROUP_NAME": self.log_group,
            "AWS_REGION": self.region,
        }
        if self.logs_json:
            variables["AWS_LAMBDA_LOG_FORMAT"] = "JSON"
            variables["AWS_LAMBDA_LOG_LEVEL"] = self.logging.get("ApplicationLogLevel", "INFO")
        return variables

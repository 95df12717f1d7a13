"""Errors of Step Functions that moto does not have."""

from __future__ import annotations

from moto.core.exceptions import AWSError


class InvalidDefinitionError(AWSError):
    """A definition is malformed, or the sandbox does not support it."""

    TYPE = "InvalidDefinition"
    STATUS = 400


class NotRedrivableError(AWSError):
    """An execution cannot be redriven."""

    TYPE = "ExecutionNotRedrivable"
    STATUS = 400

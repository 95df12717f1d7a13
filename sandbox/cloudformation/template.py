"""Where a template is, what it must be, and the order that it asks for."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from typing import Any

from moto.cloudformation.exceptions import ValidationError
from moto.cloudformation.parsing import NULL_MODELS, get_model_map
from moto.cloudformation.utils import get_stack_from_s3_url
from moto.s3.exceptions import MissingBucket

from sandbox.loopback import ADDRESS

_SUBSTITUTED = re.compile(r"\$\{([^!][^}.]*)[^}]*\}")


def from_s3(template_url: str, account_id: str, partition: str) -> str:
    """Fetch a template from the sandbox's S3, also where its address is the sandbox's own.

    Raises
    ------
    ValidationError
        If it is not there.
    """
    # moto knows addresses by path only of AWS and of localhost.
    url = template_url.replace(f"://{ADDRESS}:", "://localhost:")
    try:
        return str(get_stack_from_s3_url(url, account_id, partition))
    except (AttributeError, MissingBucket):  # of the None that moto finds there
        raise ValidationError(message=f"S3 error: there is nothing at {template_url}") from None


def refuse_unknown_types(template: Mapping[str, Any]) -> None:
    """Refuse what nobody here implements, which moto would leave out without a word.

    Raises
    ------
    ValidationError
        As AWS answers for a type that it does not know.
    """
    declared = {resource["Type"] for resource in template.get("Resources", {}).values()}
    unknown = sorted(
        name
        for name in declared - {*get_model_map(), *NULL_MODELS}
        if not name.startswith("Custom::")
    )
    if unknown:
        raise ValidationError(
            message=f"Template format error: Unrecognized resource types: [{', '.join(unknown)}]"
        )


def in_order(template: Mapping[str, Any]) -> list[str]:
    """List the logical ids, each after all that it refers to or depends on.

    Raises
    ------
    ValidationError
        If it refers to what is not in the template, or they refer to each other in a circle.
    """
    resources: Mapping[str, Any] = template.get("Resources", {})
    graph: dict[str, set[str]] = {}
    for logical_id, resource in resources.items():
        depends_on = resource.get("DependsOn", [])
        explicit = [depends_on] if isinstance(depends_on, str) else depends_on
        graph[logical_id] = {*explicit, *references(resource.get("Properties", {}))}
    known = {*resources, *template.get("Parameters", {})}
    unknown = sorted(
        name for name in set().union(*graph.values()) - known if not name.startswith("AWS::")
    )
    if unknown:
        raise ValidationError(
            message="Template format error: Unresolved resource dependencies "
            f"[{', '.join(unknown)}] in the Resources block of the template"
        )
    try:
        order = list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        circle = ", ".join(sorted(set(error.args[1])))
        raise ValidationError(
            message=f"Circular dependency between resources: [{circle}]"
        ) from None
    return [name for name in order if name in resources]


def references(node: object) -> Iterator[str]:
    """Give the name in each Ref, Fn::GetAtt and Fn::Sub."""
    if isinstance(node, list):
        for item in node:
            yield from references(item)
    elif isinstance(node, dict):
        for key, value in node.items():
            if key == "Ref" and isinstance(value, str):
                yield value
            elif key == "Fn::GetAtt":
                yield value.partition(".")[0] if isinstance(value, str) else value[0]
            elif key == "Fn::Sub":
                text, own = value if isinstance(value, list) else (value, {})
                yield from (name for name in _SUBSTITUTED.findall(text) if name not in own)
                yield from references(own)
            else:
                yield from references(value)

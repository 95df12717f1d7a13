"""Fetch a template, check it, and find the order of its resources."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from typing import Any, NamedTuple

from moto.cloudformation.exceptions import UnsupportedAttribute, ValidationError
from moto.cloudformation.parsing import NULL_MODELS, get_model_map, resource_class_from_type
from moto.cloudformation.utils import get_stack_from_s3_url
from moto.s3.exceptions import MissingBucket

from sandbox.loopback import ADDRESS

_SUBSTITUTED = re.compile(r"\$\{([^!}.][^}.]*)(?:\.([^}]*))?\}")


def from_s3(template_url: str, account_id: str, partition: str) -> str:
    """Fetch a template from the sandbox's S3, also by the sandbox's own address.

    Raises
    ------
    ValidationError
        If it does not exist.
    """
    # moto accepts addresses by path only for AWS and localhost.
    url = template_url.replace(f"://{ADDRESS}:", "://localhost:")
    try:
        return str(get_stack_from_s3_url(url, account_id, partition))
    except (AttributeError, MissingBucket):  # moto found None
        raise ValidationError(message=f"S3 error: there is nothing at {template_url}") from None


def refuse_unknown_types(template: Mapping[str, Any]) -> None:
    """Refuse unknown resource types, which moto would silently ignore.

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


def refuse_unknown_references(template: Mapping[str, Any]) -> None:
    """Refuse references to resources and attributes that do not exist.

    Raises
    ------
    ValidationError
        As AWS answers.
    """
    resources = template.get("Resources", {})
    known = {*resources, *template.get("Parameters", {})}
    depends_on = [Reference(name) for made in resources.values() for name in _depends_on(made)]
    blocks = {
        "Resources": [*depends_on, *references(_properties(template))],
        "Outputs": list(references(template.get("Outputs", {}))),
    }
    for block, found in blocks.items():
        unknown = {name for name, _ in found if name not in known and not name.startswith("AWS::")}
        if unknown:
            raise ValidationError(
                message="Template format error: Unresolved resource dependencies "
                f"[{', '.join(sorted(unknown))}] in the {block} block of the template"
            )
        for name, attribute in found:
            model = resource_class_from_type(resources.get(name, {}).get("Type", NULL_MODELS[0]))
            if attribute and model is not None and not model.has_cfn_attr(attribute):
                raise UnsupportedAttribute(resource=name, attr=attribute)


def in_order(template: Mapping[str, Any]) -> list[str]:
    """List the logical ids, each after those that it refers to or depends on.

    Raises
    ------
    ValidationError
        If the references form a cycle.
    """
    resources: Mapping[str, Any] = template.get("Resources", {})
    graph = {
        name: {*_depends_on(resources[name]), *(to.name for to in references(properties))}
        for name, properties in _properties(template).items()
    }
    try:
        order = list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        circle = ", ".join(sorted(set(error.args[1])))
        raise ValidationError(
            message=f"Circular dependency between resources: [{circle}]"
        ) from None
    return [name for name in order if name in resources]


class Reference(NamedTuple):
    """The target of a Ref, Fn::GetAtt or Fn::Sub."""

    name: str
    attribute: str = ""


def references(node: object) -> Iterator[Reference]:
    """Find the references in a part of a template."""
    if isinstance(node, list):
        for item in node:
            yield from references(item)
    elif isinstance(node, dict):
        for key, value in node.items():
            if key == "Ref" and isinstance(value, str):
                yield Reference(value)
            elif key == "Fn::GetAtt":
                yield Reference(*(value.split(".", 1) if isinstance(value, str) else value))
            elif key == "Fn::Sub":
                text, own = value if isinstance(value, list) else (value, {})
                found = (Reference(*names) for names in _SUBSTITUTED.findall(text))
                yield from (reference for reference in found if reference.name not in own)
                yield from references(own)
            else:
                yield from references(value)


def _properties(template: Mapping[str, Any]) -> dict[str, Any]:
    resources = template.get("Resources", {})
    return {name: declared.get("Properties", {}) for name, declared in resources.items()}


def _depends_on(resource: Mapping[str, Any]) -> list[str]:
    named = resource.get("DependsOn", [])
    return [named] if isinstance(named, str) else named

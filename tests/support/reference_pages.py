"""The generated pages of ``docs/reference``: fields and outcomes, read from the code.

Only ``docs/`` uses them: ``make snapshot`` writes the pages, a test compares them.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from push_sender.entry_points.openapi import document
from push_sender.outcomes.outcome import Outcome
from push_sender.request.services import SERVICES
from tests.support.paths import REPOSITORY

Schema = Mapping[str, Any]

REFERENCE: Final = REPOSITORY / "docs" / "reference"

_GENERATED: Final = "This page is generated from the code by `make snapshot`."

_INNER: Final = ("DeviceFilter", "Translation", "LightSettings", "Color", "CriticalSound")
"""The schemas of objects that stand in a field."""

_SHAPES: Final = tuple(dict.fromkeys(service.shape for service in SERVICES.values()))
_SHAPE_NAMES: Final = {"gcm": "FCM", "apns": "APNs", "baidu": "Baidu", "adm": "ADM"}


def pages() -> dict[Path, str]:
    """Write each page of ``docs/reference`` that is generated, by its path."""
    return {REFERENCE / "fields.md": _fields_page(), REFERENCE / "outcomes.md": _outcomes_page()}


def _fields_page() -> str:
    schemas: Mapping[str, Schema] = document()["components"]["schemas"]
    request = schemas["PushRequest"]["properties"]
    objects = {shape.options: _object_of(request[shape.options]) for shape in _SHAPES}
    own = {
        options: {
            name: field
            for name, field in schemas[schema]["properties"].items()
            if name not in request
        }
        for options, schema in objects.items()
    }
    return _page(
        "Fields",
        "[request.md](../request.md) explains the rules. [openapi.json](../openapi.json) is the "
        "same as a schema. `null` means that a field is left out.",
        "## The request",
        _field_table(request, _services_of),
        "## A recipient",
        "Only `token` and `service` are required. The others replace the request's field for "
        "this recipient.",
        _field_table(schemas["Recipient"]["properties"]),
        "## A user as recipient",
        "Only `user_id` is required. In place of `token` and `service` there are these fields. The "
        "others are those of a recipient.",
        _field_table(
            {
                name: field
                for name, field in schemas["UserRecipient"]["properties"].items()
                if name not in schemas["Recipient"]["properties"]
            }
        ),
        "## Fields of one service",
        "The objects `gcm`, `apns`, `baidu` and `adm` also take the shared fields of the request "
        "that have this service in the table above. There, they replace the shared value for this "
        "service.",
        *_parts(own),
        "## Objects within a field",
        *_parts({name: schemas[name]["properties"] for name in _INNER}),
        "## Limits of a service",
        _table(
            ("service", "object", "`ttl` in seconds", "payload in bytes"),
            (
                (
                    f"`{service.name}`",
                    f"`{service.shape.options}`",
                    "{:,} to {:,}".format(*service.shape.ttl_seconds),
                    f"{service.payload_bytes:,}",
                )
                for service in dict.fromkeys(SERVICES.values())
            ),
        ),
        "## The report",
        _field_table(schemas["Report"]["properties"]),
        "## A result",
        _field_table(schemas["Result"]["properties"]),
    )


def _parts(own: Mapping[str, Mapping[str, Schema]]) -> Iterator[str]:
    for options, fields in own.items():
        yield f"### {options}" if options in _INNER else f"### `{options}`"
        yield _field_table(fields)


def _object_of(field: Schema) -> str:
    """Name the schema that a field refers to."""
    (reference,) = (each["$ref"] for each in field["anyOf"] if "$ref" in each)
    return str(reference).rpartition("/")[2]


def _services_of(name: str) -> str:
    """Name the services whose message has a place for a field."""
    own = [shape for shape in _SHAPES if shape.options == name]
    having = own or [shape for shape in _SHAPES if name in shape.members]
    if len(having) in (0, len(_SHAPES)):
        return "all"
    return ", ".join(_SHAPE_NAMES[shape.options] for shape in having)


def _field_table(fields: Mapping[str, Schema], services_of: Any = None) -> str:
    heads = ["field", "type", "meaning"]
    if services_of:
        heads.insert(2, "services")
    rows = []
    for name, field in fields.items():
        row = [f"`{name}`", _type_of(field), field["description"]]
        if services_of:
            row.insert(2, services_of(name))
        rows.append(row)
    return _table(heads, rows)


def _type_of(schema: Schema) -> str:
    """Name a JSON Schema's type and limits in words."""
    if alternatives := schema.get("anyOf"):
        types = [_type_of(each) for each in alternatives if each.get("type") != "null"]
        return " or ".join(types)
    if reference := schema.get("$ref"):
        return _NAMES.get(str(reference).rpartition("/")[2], "an object of this service")
    if values := schema.get("enum"):
        return ", ".join(f"`{value}`" for value in values)
    kind = schema["type"]
    if kind == "array":
        limits = _range(schema.get("minItems"), schema.get("maxItems"))
        return f"list of {limits}{_type_of(schema['items'])}"
    if kind == "object":
        values = schema.get("additionalProperties", True)
        return "object" if values is True else f"object of {_type_of(values)}"
    if kind == "integer":
        limits = _range(schema.get("minimum"), schema.get("maximum"))
        return f"whole number {limits}".strip()
    if kind == "boolean":
        return "`true`, `false`"
    if "maxLength" not in schema:
        return "text, not empty" if "minLength" in schema else "text"
    return f"text of {_range(schema.get('minLength'), schema['maxLength'])}characters"


_NAMES: Final = {
    "Recipient": "[recipient](#a-recipient)",
    "UserRecipient": "[user](#a-user-as-recipient)",
    "Result": "[result](#a-result)",
    "Outcome": "[outcome](outcomes.md)",
    "Remark": "`{path, message}`",
    **{name: f"[{name}](#{name.lower()})" for name in _INNER},
}


def _range(least: int | None, most: int | None) -> str:
    if least is not None and most is not None:
        return f"{least:,} to {most:,} "
    return "" if most is None else f"at most {most:,} "


def _outcomes_page() -> str:
    return _page(
        "Outcomes",
        "Each result of a report has one outcome. *Ends* says where the recipient ends if no "
        "caller waits for the report: after a request from the queue or the bus. "
        "[Events](../events.md#where-each-outcome-goes) has the details.",
        _table(
            ("outcome", "meaning", "what the caller does", "ends"),
            (
                (f"`{Outcome[name]}`", *_sections(text))
                for name, text in _docstrings_of(Outcome).items()
            ),
        ),
    )


def _docstrings_of(enum: type) -> dict[str, str]:
    """Read the text below each member of an enum."""
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(enum))).body
    assert isinstance(definition, ast.ClassDef)
    texts = {}
    for member, text in zip(definition.body, definition.body[1:], strict=False):
        if isinstance(member, ast.Assign) and isinstance(member.targets[0], ast.Name):
            assert isinstance(text, ast.Expr)
            assert isinstance(text.value, ast.Constant)
            texts[member.targets[0].id] = inspect.cleandoc(str(text.value.value))
    return texts


def _sections(text: str) -> tuple[str, str, str]:
    meaning, do, ends = (" ".join(part.split()) for part in text.split("\n\n"))
    return meaning, do.removeprefix("Do: "), ends.removeprefix("Ends: ")


def _table(heads: Sequence[str], rows: Any) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _page(title: str, *parts: str) -> str:
    return "\n\n".join((f"# {title}", _GENERATED, *parts)) + "\n"

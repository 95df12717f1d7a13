"""Message variables, ``{{ name }}``, as the API fills them in.

A payload that is built here gets its values here, because it is not documented that the API
looks into raw content.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

Substitutions = Mapping[str, Sequence[str]]


def variables(text: str) -> Iterator[tuple[int, int, str]]:
    """Find the variables of a text in one pass over it.

    Yields
    ------
    tuple
        Where a variable begins and ends, and its name without the spaces around it.
    """
    done = 0
    while (closing := text.find("}}", done)) >= 0:
        opening = text.rfind("{{", done, closing)
        done = closing + 2
        if opening < 0:
            continue
        name = text[opening + 2 : closing]
        if "{" not in name and "}" not in name and (stripped := name.strip()):
            yield opening, done, stripped


def fill(text: str | None, substitutions: Substitutions) -> str | None:
    """Put the values of message variables into a text; unknown variables stay as they are."""
    if not text or not substitutions:
        return text
    filled: list[str] = []
    done = 0
    for start, end, name in variables(text):
        if name in substitutions:
            filled += text[done:start], ", ".join(substitutions[name])
            done = end
    return "".join((*filled, text[done:]))


def fill_all(content: Mapping[str, object], fields: Sequence[str]) -> dict[str, object]:
    """Give some fields of a message, those that it has, with its variables filled in.

    A field is a text or a list of texts.
    """
    values: Substitutions = content.get("substitutions", {})  # type: ignore[assignment]  # by the model
    filled: dict[str, object] = {}
    for field in fields:
        value = content.get(field)
        if isinstance(value, str):
            filled[field] = fill(value, values)
        elif isinstance(value, list):
            filled[field] = [fill(each, values) for each in value]
    return filled

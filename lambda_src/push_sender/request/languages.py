"""Language tags (BCP 47), and the translation that a recipient's language chooses."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import cache
from typing import Final

TAG_CHARACTERS: Final = 35
"""RFC 5646, section 4.4.1: no tag in use is longer."""

_TAG: Final = re.compile(
    r"[A-Za-z]{2,8}(?:(?:[-_][A-WYZa-wyz0-9])?[-_][A-Za-z0-9]{2,8})*(?:[-_][Xx](?:[-_][A-Za-z0-9]{1,8})+)?"
)
"""RFC 5646, section 2.1: a subtag of one character begins an extension, so a longer one follows.
After an ``x``, for private use, the subtags have any length. The kinds of subtags and their order
are not checked."""


def is_tag(text: str) -> bool:
    """Return whether a text has the form of a language tag: ``de``, ``pt-BR``, ``zh_Hans_TW``."""
    return len(text) <= TAG_CHARACTERS and _TAG.fullmatch(text) is not None


def normalized(tag: str) -> str:
    """Write a tag so that two of one meaning are equal: lower case, with hyphens."""
    return tag.replace("_", "-").lower()


def chooser(tags: Iterable[str]) -> Callable[[str | None], str | None]:
    """Make the function that chooses a translation for a recipient's language.

    It looks the language up as RFC 4647, section 3.4, says: the whole range first, then
    without its last subtag, and so on; a subtag of one character goes with the one after it.

    Parameters
    ----------
    tags
        The tags that there are translations for, as they were written.

    Examples
    --------
    >>> choose = chooser(["de", "pt-BR"])
    >>> choose("de_AT"), choose("pt"), choose(None)
    ('de', None, None)
    """
    known = {normalized(tag): tag for tag in tags}

    @cache
    def choose(language: str | None) -> str | None:
        subtags = normalized(language).split("-") if language else []
        while subtags:
            if found := known.get("-".join(subtags)):
                return found
            subtags.pop()
            if subtags and len(subtags[-1]) == 1:
                subtags.pop()
        return None

    return choose

"""The documents: links have targets, JSON is valid, menus and lists are complete.

The list of modules in CONTRIBUTING.md is compared with the modules.
"""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import chain, pairwise
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token

from tests.support.paths import REPOSITORY
from tests.support.reference_pages import pages

DOCUMENTS = sorted(
    chain(
        REPOSITORY.glob("*.md"),
        *((REPOSITORY / folder).rglob("*.md") for folder in ("docs", "examples", ".github")),
    )
)


def name_of(document: Path) -> str:
    return str(document.relative_to(REPOSITORY))


@cache
def tokens_of(document: Path) -> list[Token]:
    return MarkdownIt("commonmark").enable("table").parse(document.read_text())


def links_in(tokens: Iterable[Token]) -> Iterator[str]:
    for token in tokens:
        yield from (str(token.attrs[name]) for name in ("href", "src") if name in token.attrs)
        yield from links_in(token.children or ())


def anchors_of(document: Path) -> set[str]:
    """Name the anchors that GitHub gives to a document's headings."""
    tokens = tokens_of(document)
    seen: Counter[str] = Counter()
    anchors = set()
    for opening, heading in pairwise(tokens):
        if opening.type != "heading_open":
            continue
        parts = heading.children or []
        text = "".join(part.content for part in parts if part.type in ("text", "code_inline"))
        anchor = re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")
        anchors.add(f"{anchor}-{seen[anchor]}" if seen[anchor] else anchor)
        seen[anchor] += 1
    return anchors


def problem_of(link: str, document: Path) -> str | None:
    """Give the error of a link into the repository; None for other links."""
    url = urlsplit(link)
    if url.scheme or url.netloc:
        return None
    target = (document.parent / unquote(url.path)).resolve() if url.path else document
    if not target.is_relative_to(REPOSITORY) or not target.exists():
        return "there is no such file"
    if url.fragment and target.suffix == ".md" and url.fragment not in anchors_of(target):
        return "there is no such heading"
    return None


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_every_link_has_a_target(document: Path) -> None:
    links = dict.fromkeys(links_in(tokens_of(document)))

    broken = {link: problem for link in links if (problem := problem_of(link, document))}

    assert broken == {}


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_json_blocks_are_valid(document: Path) -> None:
    blocks = [token for token in tokens_of(document) if token.type == "fence"]

    for block in blocks:
        if block.info.strip() == "json":
            text = block.content.strip()
            # Lines to add to an object stand without its braces, with their last comma.
            json.loads(f"{{{text.removesuffix(',')}}}" if text.startswith('"') else text)


def pages_in(menu: Iterable[Any]) -> Iterator[str]:
    for entry in menu:
        for to in entry.values():
            yield from [to] if isinstance(to, str) else pages_in(to)


def test_the_menu_of_the_site_has_every_page_once() -> None:
    menu = tomllib.loads((REPOSITORY / "zensical.toml").read_text())["project"]["nav"]
    pages = {name_of(document) for document in DOCUMENTS if ".github" not in document.parts}
    # The list of decisions leads to each of them.
    decisions = set(map(name_of, (REPOSITORY / "docs" / "decisions").glob("[0-9]*.md")))

    assert sorted(pages_in(menu)) == sorted(pages - decisions)


def test_the_list_of_decisions_has_every_decision() -> None:
    folder = REPOSITORY / "docs" / "decisions"
    listed = {link for link in links_in(tokens_of(folder / "README.md")) if "/" not in link}

    assert listed == {decision.name for decision in folder.glob("[0-9]*.md")}


def test_the_reference_pages_are_a_snapshot_of_the_code() -> None:
    generated = pages()
    if os.environ.get("UPDATE_SNAPSHOT"):
        for page, text in generated.items():
            page.write_text(text)

    for page, text in generated.items():
        assert page.read_text() == text, "`make snapshot` writes it again, for review"


FUNCTION = REPOSITORY / "lambda_src" / "push_sender"


def section_of(document: Path, heading: str) -> str:
    """Give a section's text, from its heading to the next one of its level or above."""
    marks = heading.partition(" ")[0]
    _, _, after = document.read_text().partition(f"\n{heading}\n")
    assert after, f"{name_of(document)} has no {heading}"
    return re.split(rf"^#{{1,{len(marks)}}} ", after, maxsplit=1, flags=re.MULTILINE)[0]


def test_each_module_of_the_function_has_one_role() -> None:
    section = section_of(REPOSITORY / "CONTRIBUTING.md", "### The modules, by role")
    _, *rows = re.findall(r"^\|.*\|(.*)\|$", section, flags=re.MULTILINE)
    named = [name for row in rows for name in re.findall(r"`([\w/]+)`", row)]

    modules = [path.relative_to(FUNCTION).with_suffix("") for path in FUNCTION.rglob("*.py")]

    assert sorted(named) == sorted(str(each) for each in modules if each.name != "__init__")


@pytest.mark.parametrize("parent", ["", "lambda_src/push_sender", "sandbox", "tests"])
def test_every_folder_with_code_has_its_row(parent: str) -> None:
    section = section_of(REPOSITORY / "CONTRIBUTING.md", "### The folders")
    rows = re.findall(r"^\| (`.*?`) \|", section, flags=re.MULTILINE)
    named = {name for row in rows for name in re.findall(r"`([\w/.]+)/`", row)}

    folders = {path.parent.name for path in (REPOSITORY / parent).glob("*/*.py")}

    assert folders <= named


def test_every_place_in_the_recipes_exists() -> None:
    recipes = section_of(REPOSITORY / "CONTRIBUTING.md", "## Recipes")
    places = re.findall(r"`([a-z_/]+)`: (`\w+`(?:, `\w+`)*)", recipes)
    assert len(places) > 15

    missing = [
        f"{module}: {name}"
        for module, names in places
        for name in re.findall(r"\w+", names)
        if not re.search(rf"\b{name}\b", (FUNCTION / f"{module}.py").read_text())
    ]

    assert missing == []

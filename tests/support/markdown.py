"""What the project's documents say, taken apart: fenced blocks, links, anchors."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
_FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#{1,6} (.+)$", re.MULTILINE)


def documents() -> list[Path]:
    """Every document of the project that a person is meant to read."""
    return [
        *(
            ROOT / name
            for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "examples/README.md", "benchmarks/README.md")
        ),
        *sorted((ROOT / "docs").glob("*.md")),
    ]


def blocks(document: Path, language: str) -> list[str]:
    """The fenced blocks of a language, in order."""
    return [text for name, text in _FENCE.findall(document.read_text(encoding="utf-8")) if name == language]


def commands(document: Path, program: str) -> list[list[str]]:
    """The commands of the document's shell blocks that start a program, as argument lists without its name."""
    lines = "".join(blocks(document, "bash")).replace("\\\n", " ").splitlines()
    split = [shlex.split(line, comments=True) for line in lines]
    return [words[1:] for words in split if words[:1] == [program]]


def options(document: Path) -> set[str]:
    """Every long option that a document names outside its blocks."""
    return set(re.findall(r"`[^`\n]*?(?<![\w-])(--[a-z][a-z-]*)", _FENCE.sub("", document.read_text(encoding="utf-8"))))


def links(document: Path) -> Iterator[tuple[Path, str]]:
    """Target and anchor ("" for none) of every relative link."""
    for link in _LINK.findall(_FENCE.sub("", document.read_text(encoding="utf-8"))):
        if not re.match(r"[a-z]+:", link):
            name, _, anchor = link.partition("#")
            yield (document.parent / name if name else document), anchor


def anchors(document: Path) -> set[str]:
    """The anchors of a document's headings, as GitHub makes them."""
    headings = _HEADING.findall(_FENCE.sub("", document.read_text(encoding="utf-8")))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def first_cells(document: Path, heading: str) -> list[str]:
    """The code words in the first column of the table below a heading, in order."""
    section = re.split(rf"^## {re.escape(heading)}$", document.read_text(encoding="utf-8"), flags=re.MULTILINE)[1]
    rows = re.findall(r"^\| (`.*?) \|", section.split("\n## ")[0], re.MULTILINE)
    return [word for row in rows for word in re.findall(r"`([^`]+)`", row)]

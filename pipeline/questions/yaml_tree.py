"""Takes the tree of a YAML file apart, into text, lists and mappings.

The part of YAML that a questions file needs is small: anchors, aliases and tags are refused, and so is deep nesting.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

QUOTES = "if this is text, put it in quotes"
Place = tuple[int | str, ...]  # keys and positions, from the top of the file downwards
_DEEPEST = 12
_NULLS = frozenset({"", "~", "null", "Null", "NULL"})


class Plain(str):
    """A scalar without quotes; only such a scalar can be a number."""

    __slots__ = ()


class Loader(yaml.SafeLoader):
    """Builds the tree of a file, and knows the place it had reached when the text turns out to be wrong."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.last: Place = ()
        self._around: list[int | str] = []
        self._depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Build the node that comes next; ``index`` is its position in a list, or the node of its key."""
        inside = index is not None
        if inside:
            self._around.append(index if isinstance(index, int) else str(index.value))
            self.last = tuple(self._around)
        event: yaml.Event = self.peek_event()  # type: ignore[no-untyped-call]
        refused = _refused(event, self._depth)
        if refused is not None:
            mark: Any = event.start_mark
            raise yaml.MarkedYAMLError(problem=refused, problem_mark=mark)
        self._depth += 1
        node = super().compose_node(parent, index)
        self._depth -= 1
        if inside:
            self._around.pop()
        return node


def _refused(event: Any, depth: int) -> str | None:
    if isinstance(event, yaml.AliasEvent):
        return f"*{event.anchor} is an alias, which stands for another place; write out what it stands for"
    if event.anchor is not None:
        return f"&{event.anchor} is an anchor, which is not read here"
    if event.tag is not None:
        return f"{event.tag} is a tag, which is not read here"
    return "nested deeper than a questions file can be" if depth > _DEEPEST else None


@dataclass(slots=True)
class Content:
    """Turns the tree of a file into plain values, and collects the line of each place and what is wrong."""

    lines: dict[Place, int] = field(default_factory=dict)
    problems: list[tuple[int, Place, str]] = field(default_factory=list)

    def read(self, node: yaml.Node, place: Place) -> Any:
        """Read a node and all nodes below it.

        Args:
            node: node of the tree.
            place: place of the node in the file.
        """
        self.lines.setdefault(place, node.start_mark.line + 1)
        if isinstance(node, yaml.SequenceNode):
            return [self.read(child, (*place, position)) for position, child in enumerate(node.value)]
        if isinstance(node, yaml.MappingNode):
            return dict(self._entries(node, place))
        text = self._text(node, place)
        if getattr(node, "style", None) is not None:  # in quotes, or a block
            return text
        return None if text in _NULLS else Plain(text)

    def _entries(self, node: yaml.MappingNode, place: Place) -> Iterator[tuple[str, Any]]:
        seen = set()
        for key, value in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                self.problems.append((line, place, f"expected the name of a field, found a list or mapping; {QUOTES}"))
                continue
            name = self._text(key, place)
            here = (*place, name)
            if name in seen:
                self.problems.append((line, here, "is given twice"))
            seen.add(name)
            self.lines[here] = line
            yield name, self.read(value, here)

    def _text(self, node: yaml.Node, place: Place) -> str:
        """Return the text of a scalar, into which an escape may bring what may not stand there itself."""
        text = str(node.value)
        odd = yaml.reader.Reader.NON_PRINTABLE.search(text)
        if odd is not None:
            line = node.start_mark.line + 1
            self.problems.append((line, place, f"{odd.group()!r} may not stand in a text; take it out"))
        return text

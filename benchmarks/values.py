"""Reads the strings of values.tsv, written from CLDR and the documentation of the libraries, and counts what is right.

    python benchmarks/values.py [TABLE]

A row has a locale (``-`` for none declared), a type, a text, and the value that it has: amount and currency of money,
an ISO date, ``?`` where no value is right, because people read it differently or nothing is there to read. A wrong
value is worse than none, so both are counted.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from pipeline.questions.values import Parsed, parse_value


def told(parsed: Parsed, kind: str) -> str:
    """Write a value as the table does."""
    if parsed.error is not None or parsed.value is None:
        return "?"
    if kind == "money":
        return f"{parsed.value.number} {parsed.value.currency or '-'}"
    raw: Any = json.loads(parsed.value.json, parse_float=str, parse_int=str)
    return json.dumps(raw) if isinstance(raw, bool) else str(raw)


def main() -> None:
    table = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_name("values.tsv")
    rows, right, wrong, none = Counter[str](), Counter[str](), Counter[str](), Counter[str]()
    for line in table.read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            continue
        locale, kind, text, want = line.split("\t")
        found = told(parse_value(text, kind, None if locale == "-" else locale), kind)
        rows[kind] += 1
        right[kind] += found == want
        if found != want:
            (none if found == "?" else wrong)[kind] += 1
            print(f"{locale} {kind} {text!r}: expected {want}, found {found}")
    print("| type | strings | right | no value | wrong value |\n| --- | --- | --- | --- | --- |")
    for kind in [*rows, "all"]:
        counts = [sum(c.values()) if kind == "all" else c[kind] for c in (rows, right, none, wrong)]
        print(f"| {kind} | " + " | ".join(map(str, counts)) + " |")


if __name__ == "__main__":
    main()

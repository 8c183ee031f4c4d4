"""GlimpsePrune beside the methods it is compared with, at equal retention, on nano.

    python benchmarks/methods.py --out DIR [--pages 30] [--seed 41001]

Draws pages that nano never saw, half of them of the family `known` and half of `open`, small ones (at most 560 visual
tokens) so that two CPU cores are enough, and asks every question in every mode at every share of visual tokens. Blank
paper is shown, as in the article. Pages that are done are kept in DIR, so the command resumes. It writes DIR/methods.md
(the table) and DIR/methods.svg (retention against right answers).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from statistics import fmean
from typing import Any

from jobs.commands.evaluate import LoadedAnswerer
from jobs.model_choice import ModelChoice
from jobs.run.prepare import answer_settings
from pipeline.datasets.example import by_page
from pipeline.datasets.load import load_examples
from pipeline.evaluation.modes import MODES, Mode
from pipeline.samples.families import FAMILIES
from pipeline.samples.write import pick_seeds, write_samples

SHARES = (0.056, 0.111, 0.222, 0.333, 0.5)
OURS: tuple[Mode, ...] = ("glimpse", "glimpse-fixed")
NAMES = {"glimpse": "GlimpsePrune, capped", "glimpse-fixed": "GlimpsePrune, fixed share",
         "mean-attention": "glimpse attention, no predictor", "last-token": "FastV at our K", "fastv": "FastV, K = 2",
         "pyramiddrop": "PyramidDrop", "visionzip": "VisionZip", "vscan": "VScan", "divprune": "DivPrune",
         "cdpruner": "CDPruner", "random": "random", "grid": "even grid"}  # fmt: skip


def measured(folder: Path, done: Path, most: int) -> None:
    """Ask about every page in every mode in which that is not done, and append a line per answer."""
    choice = ModelChoice(drop_blank=False, dtype="float32", device="cpu")
    asked = {(row["document"], row["mode"]) for row in read(done)} if done.is_file() else set()
    askers: dict[tuple[Mode, ...], LoadedAnswerer] = {}
    pages = [page for name in ("known", "open") for page in islice(by_page(load_examples(folder / name)), most)]
    half = len(pages) // 2
    for mine in [page for pair in zip(pages[:half], pages[half:], strict=True) for page in pair]:
        name = f"{mine[0].document.parent.parent.name}/{mine[0].document.name}"
        left = tuple(mode for mode in MODES if mode in ("off", *NAMES) and (name, mode) not in asked)
        if not left:
            continue
        if left not in askers:
            askers[left] = LoadedAnswerer(choice, answer_settings(choice, 0), left, quiet=True)
        rows = askers[left].measure(mine, shares=SHARES)
        with done.open("a") as file:
            for row in rows:
                entry = {"document": name, "mode": row.mode, "share": row.keep_share, "exact": row.exact,
                         "anls": row.anls, "retention": row.retention}  # fmt: skip
                file.write(json.dumps(entry) + "\n")
        print(name, flush=True)


def figures(rows: Sequence[dict[str, Any]], mode: Mode, share: float | None) -> dict[str, float] | None:
    mine = [row for row in rows if (row["mode"], row["share"]) == (mode, share)]
    return {name: fmean(row[name] for row in mine) for name in ("exact", "anls", "retention")} if mine else None


def cell(found: dict[str, float] | None) -> str:
    return "" if found is None else f"{found['exact']:.3f}".replace("0.", ".", 1)


def table(rows: Sequence[dict[str, Any]]) -> str:
    lines = [f"| method | {' | '.join(f'{share:.1%}' for share in SHARES)} |", f"|{' --- |' * (len(SHARES) + 1)}"]
    for mode, name in NAMES.items():
        found = [figures(rows, mode, share) for share in SHARES]  # type: ignore[arg-type]
        cells = [cell(one) for one in found]
        if mode == "glimpse":
            cells = [f"{cell(one)} (keeps {one['retention']:.1%})" if one else "" for one in found]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    off, own = figures(rows, "off", None), figures(rows, "glimpse", None)
    assert off is not None
    assert own is not None
    documents = len({row["document"] for row in rows})
    questions = len([row for row in rows if row["mode"] == "off"])
    told = f"{questions} questions on {documents} pages. Unpruned: {cell(off)}."
    return "\n".join([*lines, "", f"{told} GlimpsePrune without a cap: {cell(own)}, keeps {own['retention']:.1%}."])


def plot(rows: Sequence[dict[str, Any]], path: Path) -> None:
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams.update({"svg.hashsalt": "docpipe", "svg.fonttype": "none", "font.size": 9})
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7.2, 4.4))
    for mode, name in NAMES.items():
        points = [one for share in SHARES if (one := figures(rows, mode, share))]  # type: ignore[arg-type]
        own = figures(rows, "glimpse", None)
        if mode == "glimpse" and own is not None:
            points.append(own)
        points.sort(key=lambda one: one["retention"])
        across, up = [100 * one["retention"] for one in points], [one["exact"] for one in points]
        style = {"linewidth": 2.2 if mode in OURS else 1.1, "linestyle": "--" if mode in ("random", "grid") else "-"}
        axes.plot(across, up, marker="o", markersize=3, label=name, **style)
    off = figures(rows, "off", None)
    axes.axhline(off["exact"] if off else 1.0, color="grey", linestyle=":", label="unpruned")
    axes.set(xlabel="visual tokens kept, %", ylabel="right answers", ylim=(0, 1), xlim=(0, 52))
    axes.grid(alpha=0.3)
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
    figure.savefig(path, bbox_inches="tight", metadata={"Date": None})


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--pages", type=int, default=30, help="half of them of each family")
    parser.add_argument("--seed", type=int, default=41001)
    parser.add_argument("--report", action="store_true", help="only sum up what was measured")
    given = parser.parse_args()
    rows = given.out / "rows.jsonl"
    if not given.report:
        for name in ("known", "open"):
            family = replace(FAMILIES[name], min_fields=5, max_fields=8, max_cells=560)
            if not (given.out / name).exists():
                write_samples(given.out / name, pick_seeds(given.seed, given.pages // 2), family)
        measured(given.out, rows, given.pages // 2)
    found = read(rows)
    text = table(found)
    (given.out / "methods.md").write_text(text + "\n")
    plot(found, given.out / "methods.svg")
    print(text)


if __name__ == "__main__":
    main()

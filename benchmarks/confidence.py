"""Is nano's confidence the share of right answers? Measured on fresh pages, of kinds that it was fitted on and others.

    python benchmarks/confidence.py --out /tmp/confidence [--pages 25] [--seed 77001]

Draws pages of each family, asks nano unpruned and pruned, and prints a Markdown table. The first row is of pages like
those that the calibration was fitted on (`make calibrate-nano`): known and open ones together, of other seeds.
"Raw ECE" is that of `confidence_raw`.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from jobs.commands.evaluate import EvalSettings, evaluate
from pipeline.evaluation.evaluate import Measured
from pipeline.evaluation.further_tables import ERRORS
from pipeline.evaluation.ranking import aurc, auroc, calibration_error, coverage
from pipeline.samples.families import FAMILIES
from pipeline.samples.write import pick_seeds, write_samples

FITTED_ON = ("known", "open")
OTHERS = ("labels", "looks")
HEAD = (
    "pages",
    "answers",
    "right",
    "AUROC",
    "AURC",
    *(f"coverage at {one:.0%} error" for one in ERRORS),
    "ECE",
    "raw ECE",
)


def answers(family: str, out: Path, pages: int, seed: int) -> list[Measured]:
    folder = out / family
    write_samples(folder, pick_seeds(seed, pages), FAMILIES[family])
    return evaluate(EvalSettings(data=str(folder), out=folder / "eval.parquet", compare=("off", "glimpse"), quiet=True))


def line(name: str, rows: Sequence[Measured]) -> str:
    right = [row.value_equal for row in rows]
    sure = [row.confidence for row in rows if row.confidence is not None]
    assert len(sure) == len(rows), "nano has no calibration; make one with `make calibrate-nano`"
    raw = [row.confidence_raw for row in rows]
    figures = [sum(right) / len(right), auroc(sure, right), aurc(sure, right)]
    figures += [coverage(sure, right, error) for error in ERRORS]
    figures += [calibration_error(sure, right), calibration_error(raw, right)]
    cells = ["-" if one is None else f"{one:.3f}".lstrip("0") for one in figures]
    return f"| {' | '.join([name, f'{len(rows):,}', *cells])} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--pages", type=int, default=25, help="of each family")
    parser.add_argument("--seed", type=int, default=77001)
    given = parser.parse_args()
    found = {name: answers(name, given.out, given.pages, given.seed) for name in (*FITTED_ON, *OTHERS)}
    lines = [f"| {' | '.join(HEAD)} |", f"|{' --- |' * len(HEAD)}"]
    lines.append(line(" and ".join(FITTED_ON), [row for name in FITTED_ON for row in found[name]]))
    for name, rows in found.items():
        lines.append(line(f"`{name}`", rows))
        lines += [line(f"`{name}`, {mode}", [row for row in rows if row.mode == mode]) for mode in ("off", "glimpse")]
    print("\n".join(lines))


if __name__ == "__main__":
    main()

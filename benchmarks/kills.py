"""A run killed with SIGKILL at 50 random moments and started again: are its rows those of one that nobody disturbed?

    python benchmarks/kills.py --out /tmp/kills    # 60 documents, 600 pages, 50 kills
    python benchmarks/kills.py --out /tmp/kills --kills 10 --documents 12 --pages 4    # a smaller one

Driver, worker (the actor that holds the model), raylet, renderer and all of them are killed in turn, in an order and at
moments that the seed decides. A run goes on in its folder until it is done; then another folder is begun, until there
have been enough kills. Prints and writes ``kills.json`` after every folder: the kills with what followed from each,
the comparison of every row with the reference, and how many pages were computed again per kill. The same command goes
on with the folder that comes next.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import shutil
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from pipeline.samples.write import pick_seeds, write_samples
from tests.support.killed_runs import KINDS, compared, computed, kill_until_done, run_once
from tests.support.merged_pdf import merged

_ASKED = ("total", "date", "order_id", "customer")  # four fields of the drawn documents


def draw(folder: Path, documents: int, pages: int, seed: int) -> None:
    """Draw documents of several pages each, and the questions about them."""
    write_samples(folder / "drawn", pick_seeds(seed, documents * pages), keys=_ASKED)
    drawn = sorted((folder / "drawn" / "pdfs").glob("*.pdf"))
    (folder / "pdfs").mkdir()
    for number in range(documents):
        with merged(path.read_bytes() for path in drawn[number * pages : (number + 1) * pages]) as whole:
            whole.save(folder / "pdfs" / f"{number:03}.pdf")
    (folder / "drawn" / "questions.yaml").rename(folder / "questions.yaml")


def kinds(seed: int) -> Iterator[str]:
    """What is killed next, each as often as the others."""
    rng = random.Random(seed)
    while True:
        yield from rng.sample(KINDS, len(KINDS))


def reference(out: Path) -> float:
    """Do the uninterrupted run, once; the seconds that it took."""
    known = out / "reference" / "seconds"
    if not known.exists():
        (out / "reference").mkdir(exist_ok=True)
        known.write_text(str(run_once(out / "pdfs", out / "questions.yaml", out / "reference" / "out")))
    return float(known.read_text())


def one_folder(out: Path, number: int, left: int, seed: int, longest_s: float) -> dict[str, Any]:
    """Kill runs in one folder until they are done or there have been enough kills; what came of it.

    Args:
        out: folder of everything.
        number: number of the folder, by which the seed differs.
        left: most kills.
        seed: seed of all choices.
        longest_s: most seconds between two kills.
    """
    folder = out / f"folder-{number:02}"
    shutil.rmtree(folder, ignore_errors=True)  # of a command that was ended in the middle of it
    folder.mkdir()
    rng, some = random.Random(f"{seed} {number}"), itertools.islice(kinds(seed + number), left)
    kills = list(kill_until_done(out / "pdfs", out / "questions.yaml", folder / "out", some, rng, longest_s))
    wanted = computed(out / "reference" / "out")
    return {
        "kills": [asdict(kill) for kill in kills],
        "rows": compared(folder / "out", out / "reference" / "out"),
        "pages": wanted,
        "pages_computed_again": computed(folder / "out") - wanted,
        "left_in_flight": len(list((folder / "out" / "inflight").glob("*"))),
    }


def summary(folders: list[dict[str, Any]], reference_s: float) -> dict[str, Any]:
    """Sum up all folders."""
    kills = [kill for folder in folders for kill in folder["kills"]]
    rows = Counter[str]()
    for folder in folders:
        rows.update(folder["rows"])
    again = sum(folder["pages_computed_again"] for folder in folders)
    return {
        "folders": len(folders),
        "reference_s": round(reference_s, 1),
        "kills": len(kills),
        "kills_by_kind": dict(Counter(kill["kind"] for kill in kills)),
        "rows": dict(rows),
        "pages_computed_again": again,
        "pages_computed_again_per_kill": round(again / len(kills), 2) if kills else None,
        "drivers_that_did_not_end": sum(k["ended_s"] is None and k["kind"] == "raylet" for k in kills),
        "survivors": dict(Counter(name for kill in kills if kill["kind"] == "driver" for name in kill["survivors"])),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--documents", type=int, default=60)
    parser.add_argument("--pages", type=int, default=10, help="Pages per document.")
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--longest", type=float, default=60.0, help="Most seconds between two kills.")
    given = parser.parse_args()
    out = given.out.resolve()
    if not (out / "questions.yaml").exists():
        draw(out, given.documents, given.pages, given.seed)
    reference_s = reference(out)
    results = out / "kills.json"
    folders = json.loads(results.read_text())["each"] if results.exists() else []
    while (left := given.kills - sum(len(folder["kills"]) for folder in folders)) > 0:
        folders.append(one_folder(out, len(folders), left, given.seed, given.longest))
        found = {**summary(folders, reference_s), "each": folders}
        results.write_text(json.dumps(found, indent=2) + "\n")
    print(json.dumps(summary(folders, reference_s), indent=2))


if __name__ == "__main__":
    main()

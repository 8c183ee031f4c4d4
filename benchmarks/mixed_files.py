"""Runs over thousands of mixed files, some with something wrong, uninterrupted and interrupted, and checks every row.

    python benchmarks/mixed_files.py --out DIR [--files 2000] [--interruptions 4] [--seed 1] [--engine auto]

Every document must end as ``mixed_corpus`` expects it, every file that is no document must be counted, and the exit
code must follow from the share of failed rows. A second run is interrupted by Ctrl-C (SIGINT) at random moments and
resumed: its rows must equal the first run's, and what each interruption lost, the seconds since the last page that was
committed, must be 20 at most. Prints a table and writes ``DIR/mixed_files.json``; the exit code is 1 if one of these
does not hold.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from mixed_corpus import Expected, write_corpus

_QUESTIONS = """\
version: 1
questions:
  - {id: total, text: "What is the total?"}
  - {id: number, text: "What is the invoice number?"}
"""
_LOST_SECONDS = 20.0
_FAILED_SHARE = 0.05
_INTERRUPTED = 130
_SAME_CONFIDENCE = 1e-4


def command_of(given: argparse.Namespace, output: Path) -> list[str]:
    """Return the command of a run over the corpus."""
    words = ["run", "--input", given.out / "files", "--questions", given.out / "questions.yaml", "--output", output]
    return [sys.executable, "-m", "jobs", *map(str, words), "--engine", given.engine]


def rows_of(output: Path, table: str = "answers") -> list[dict[str, Any]]:
    """Read a table of a run; none is there before the first part is published."""
    folder = output / table
    return pq.read_table(folder).to_pylist() if folder.exists() and any(folder.glob("*.parquet")) else []


def faults_of(output: Path, expected: dict[str, Expected], ignored: int, exit_code: int) -> list[str]:
    """Compare what a run wrote with what was expected; one sentence per fault."""
    faults = []
    by_document: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows_of(output):
        by_document[row["document"]].append(row)
    errors: dict[str, set[str]] = defaultdict(set)
    for failure in rows_of(output, "failures"):
        errors[failure["document"]].add(failure["error_type"])
    names = {name.encode(errors="surrogateescape").decode(errors="backslashreplace"): name for name in expected}
    faults += [f"{name}: not expected at all" for name in by_document.keys() - names.keys()]
    for shown, name in names.items():
        rows, what = by_document.get(shown, []), expected[name]
        keys = Counter((row["page"], row["question_id"]) for row in rows)
        pages = {page for page, _ in keys}
        if not rows or set(keys.values()) != {1} or len(keys) != 2 * len(pages):
            faults.append(f"{shown}: expected one row per page and question, found {dict(keys)}")
        statuses = {row["status"] for row in rows}
        if not statuses <= what.statuses or (what.failed and "failed" not in statuses):
            faults.append(f"{shown}: expected {sorted(what.statuses)}, found {sorted(statuses)}")
        if not what.blank and any(row["finish_reason"] == "blank" for row in rows):
            faults.append(f"{shown}: a page was taken for an empty one")
        if not errors[shown] <= what.errors:
            faults.append(f"{shown}: expected errors {sorted(what.errors)}, found {sorted(errors[shown])}")
    run = json.loads((output / "run.json").read_text())
    if sum(run["ignored"].values()) != ignored:
        faults.append(f"expected {ignored} ignored files, found {run['ignored']}")
    if exit_code != int(run["failed_share"] > _FAILED_SHARE):
        faults.append(f"exit code {exit_code} with a failed share of {run['failed_share']:.3f}")
    return faults


def interrupt(command: list[str], output: Path, seconds: float) -> dict[str, float]:
    """Start a run, interrupt it so many seconds after its first committed part, and say what that lost."""
    before = set((output / "parts").glob("*")) if (output / "parts").exists() else set()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None and not set((output / "parts").glob("*")) - before:
        time.sleep(0.1)
    time.sleep(seconds)
    process.send_signal(signal.SIGINT)
    asked = time.time()
    code = process.wait(timeout=120)
    last = max((row["answered_at"].timestamp() for row in rows_of(output)), default=0.0)
    return {"exit_code": code, "lost_s": max(0.0, asked - last), "stopped_in_s": time.time() - asked}


def compare(whole: Path, resumed: Path) -> list[str]:
    """Say which rows of two runs differ; a confidence may by what the order of float32 sums makes of it."""
    first, second = (
        {(row["document"], row["page"], row["question_id"]): row for row in rows_of(output) if row["is_current"]}
        for output in (whole, resumed)
    )
    differing = [key for key in first.keys() | second.keys() if _answer(first.get(key)) != _answer(second.get(key))]
    differing += [
        key
        for key in first.keys() & second.keys()
        if abs((first[key]["confidence_raw"] or 0.0) - (second[key]["confidence_raw"] or 0.0)) > _SAME_CONFIDENCE
    ]
    return [f"resumed differs: {key}" for key in sorted(differing, key=repr)]


def _answer(row: dict[str, Any] | None) -> tuple[Any, ...] | None:
    return row and (row["status"], row["answer"], row["finish_reason"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--files", type=int, default=2000)
    parser.add_argument("--interruptions", type=int, default=4)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--engine", default="auto")
    given = parser.parse_args()
    shutil.rmtree(given.out, ignore_errors=True)
    expected, ignored = write_corpus(given.out / "files", given.files, given.seed)
    (given.out / "questions.yaml").write_text(_QUESTIONS)

    whole, stopped = given.out / "uninterrupted", given.out / "interrupted"
    started = time.monotonic()
    code = subprocess.run(command_of(given, whole), check=False).returncode
    seconds = time.monotonic() - started
    faults = faults_of(whole, expected, ignored, code)
    rng = random.Random(given.seed)
    kills = []
    for number in range(given.interruptions):
        kills.append(interrupt(command_of(given, stopped), stopped, rng.uniform(0, seconds / given.interruptions)))
        print(json.dumps(kills[-1]), flush=True)
        if kills[-1]["exit_code"] != _INTERRUPTED:
            faults.append(f"interruption {number + 1}: expected exit code 130, found {kills[-1]['exit_code']}")
        if kills[-1]["lost_s"] > _LOST_SECONDS:
            faults.append(f"interruption {number + 1} lost {kills[-1]['lost_s']:.1f} s of work")
    code = subprocess.run(command_of(given, stopped), check=False).returncode
    faults += [f"resumed: {fault}" for fault in faults_of(stopped, expected, ignored, code)]
    faults += compare(whole, stopped)

    run = json.loads((whole / "run.json").read_text())
    report = {
        "files": given.files,
        "documents": run["documents"],
        "pages": run["pages"],
        "ignored": run["ignored"],
        "counts": run["counts"],
        "failures": Counter(row["error_type"] for row in rows_of(whole, "failures")),
        "exit_code": code,
        "seconds": seconds,
        "interruptions": kills,
        "faults": faults,
    }
    (given.out / "mixed_files.json").write_text(json.dumps(report, indent=1))
    print(json.dumps(report, indent=1))
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()

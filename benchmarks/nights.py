"""Two nights: what the second one computes, and what the unchanged part costs.

    python benchmarks/nights.py --documents 1000 --out nights

The first night is over all documents. Before the second, 1 % of them are new, 0.5 % changed and 0.3 % deleted; one
question is new and one reworded. The third finds nothing new, so its time is that of the unchanged part.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import time
from pathlib import Path

from jobs.commands.nightly import hold_night
from jobs.run.job import run_job
from jobs.settings import RunSettings
from pipeline.output.drift import Thresholds
from pipeline.output.folder import Folder
from pipeline.output.nights import Night, read_nights
from pipeline.questions.file import QuestionSet, parse_questions
from pipeline.samples.families import FAMILIES
from pipeline.samples.write import pick_seeds, write_samples

DATE = "{id: date, text: 'What is the date?'}"
FIRST = f"{{id: total, text: 'What is the total amount?'}}, {DATE}"
SECOND = f"{{id: total, text: 'What is the total?'}}, {DATE}, {{id: customer, text: 'Who is it for?'}}"


def night(settings: RunSettings, questions: str) -> tuple[Night, float]:
    asked = parse_questions(f"version: 1\ndefaults: {{max_new_tokens: 12}}\nquestions: [{questions}]", "q.yaml")
    began = time.perf_counter()

    def here(settings: RunSettings, questions: QuestionSet) -> int:
        return int(run_job(settings, questions)["exit_code"])

    hold_night(settings, asked, Thresholds(), here, lambda _: None)
    return read_nights(Folder(settings.output), 1)[0], time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--documents", type=int, default=1000)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    new, changed, deleted = (max(1, round(given.documents * share)) for share in (0.01, 0.005, 0.003))
    with contextlib.redirect_stdout(io.StringIO()):
        write_samples(given.out, pick_seeds(0, given.documents + new), FAMILIES["known"])
    pdfs = sorted((given.out / "pdfs").glob("*.pdf"))
    aside = given.out / "aside"
    aside.mkdir()
    for path in pdfs[:new]:
        path.rename(aside / path.name)
    settings = RunSettings(
        input=(str(given.out / "pdfs"),),
        questions="q.yaml",
        output=str(given.out / "answers"),
        engine="local",
        device="cpu",
        max_failed_share=1.0,
        quiet=True,
    )
    told = {"first": night(settings, FIRST)}
    for path in aside.iterdir():
        path.rename(given.out / "pdfs" / path.name)
    for path, other in zip(pdfs[new : new + changed], pdfs[new + changed :], strict=False):
        path.write_bytes(other.read_bytes() + b"\n%")
    for path in pdfs[-deleted:]:
        path.unlink()
    told["second"] = night(settings, SECOND)
    told["idle"] = night(settings, SECOND)
    for name, (one, seconds) in told.items():
        documents = {kind: getattr(one, f"{kind}_documents") for kind in ("new", "changed", "deleted")}
        questions = {kind: getattr(one, f"{kind}_questions") for kind in ("new", "reworded", "gone")}
        line = {"night": name, "seconds": round(seconds, 1), "rows": one.rows, "documents": documents}
        print(json.dumps({**line, "questions": questions}))


if __name__ == "__main__":
    main()

"""Packs what travels to a cluster, and runs it there: ``python -m jobs.cluster.payload``."""

from __future__ import annotations

import base64
import json
import os
import sys
import zlib

from jobs.settings import RunSettings
from pipeline.errors import UsageError
from pipeline.questions.file import QuestionSet

ENVIRONMENT_VARIABLE = "DOCPIPE_SUBMISSION"
_MAX_BYTES = 96_000  # Linux takes 128 KiB for one environment variable


def pack(run: RunSettings, questions: QuestionSet) -> str:
    """Pack settings and questions into one short string.

    Args:
        run: settings of the run.
        questions: questions to ask.

    Raises:
        UsageError: the string would be too long for an environment variable.
    """
    text = json.dumps({"settings": run.model_dump(mode="json"), "questions": questions.model_dump(mode="json")})
    packed = base64.b64encode(zlib.compress(text.encode())).decode()
    if len(packed) > _MAX_BYTES:
        raise UsageError(
            f"questions and settings come to {len(packed):,} bytes, a submission takes {_MAX_BYTES:,}; "
            "split the questions file, or give fewer --input"
        )
    return packed


def unpack(packed: str) -> tuple[RunSettings, QuestionSet]:
    """Unpack the result of :func:`pack`."""
    raw = json.loads(zlib.decompress(base64.b64decode(packed)))
    questions = QuestionSet.model_validate_json(json.dumps(raw["questions"]))  # JSON has lists where it has tuples
    return RunSettings.model_validate(raw["settings"]), questions


def main() -> None:
    """Run the submission on the cluster that this process runs in."""
    import typer

    from jobs.exit_codes import as_exit_code
    from jobs.run.job import run_job
    from jobs.run.report import closing_lines

    try:
        with as_exit_code():
            run, questions = unpack(os.environ[ENVIRONMENT_VARIABLE])
            report = run_job(run, questions, address="auto")
            typer.echo(closing_lines(report))
    except typer.Exit as end:
        sys.exit(end.exit_code)
    sys.exit(report["exit_code"])


if __name__ == "__main__":
    main()

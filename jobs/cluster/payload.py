"""Packs what travels to a cluster, and runs it there: ``python -m jobs.cluster.payload``."""

from __future__ import annotations

import base64
import json
import os
import sys
import zlib

from jobs.settings import RunSettings
from pipeline.errors import UsageError
from pipeline.pages.passwords import PasswordPlaces, look_up
from pipeline.questions.file import QuestionSet

ENVIRONMENT_VARIABLE = "DOCPIPE_SUBMISSION"
_MAX_BYTES = 96_000  # Linux takes 128 KiB for one environment variable


def pack(run: RunSettings, questions: QuestionSet, places: PasswordPlaces | None) -> str:
    """Pack settings, questions and where passwords lie into one short string, which Ray shows and logs.

    Args:
        run: settings of the run.
        questions: questions to ask.
        places: where the passwords of encrypted documents lie; ``None`` without any.

    Raises:
        UsageError: the string would be too long for an environment variable.
    """
    parts = {"settings": run, "questions": questions} | ({} if places is None else {"places": places})
    text = json.dumps({name: part.model_dump(mode="json") for name, part in parts.items()})
    packed = base64.b64encode(zlib.compress(text.encode())).decode()
    if len(packed) > _MAX_BYTES:
        raise UsageError(
            f"questions and settings come to {len(packed):,} bytes, a submission takes {_MAX_BYTES:,}; "
            "split the questions file, or give fewer --input"
        )
    return packed


def unpack(packed: str) -> tuple[RunSettings, QuestionSet, PasswordPlaces | None]:
    """Unpack the result of :func:`pack`."""
    raw = json.loads(zlib.decompress(base64.b64decode(packed)))
    questions = QuestionSet.model_validate_json(json.dumps(raw["questions"]))  # JSON has lists where it has tuples
    places = PasswordPlaces.model_validate(raw["places"]) if "places" in raw else None
    return RunSettings.model_validate(raw["settings"]), questions, places


def main() -> None:
    """Run the submission on the cluster that this process runs in."""
    import typer

    from jobs.exit_codes import as_exit_code
    from jobs.log import Log
    from jobs.run.closing import say_how_it_ended
    from jobs.run.job import run_job

    try:
        with as_exit_code() as ending:
            run, questions, places = unpack(os.environ[ENVIRONMENT_VARIABLE])
            ending.log = Log(run.log_format)
            report = run_job(run, questions, address="auto", passwords=None if places is None else look_up(places))
            say_how_it_ended(report, run.log_format, typer.echo)
    except typer.Exit as end:
        sys.exit(end.exit_code)
    sys.exit(report["exit_code"])


if __name__ == "__main__":
    main()

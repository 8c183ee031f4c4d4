"""What runs on the cluster when a run was submitted: the same job, attached to the Ray it was started by."""

from __future__ import annotations

import json
import os
import sys

from jobs import exit_codes
from jobs.run import run_job
from jobs.settings import RunSettings
from jobs.submit import JOB_VARIABLE
from jobs.summary import summary
from pipeline.questions import parse_questions


def main() -> int:
    """Do the run that the environment describes; its exit code."""
    payload = json.loads(os.environ[JOB_VARIABLE])
    settings = RunSettings.model_validate(payload["settings"])
    try:
        report = run_job(settings, parse_questions(payload["questions"], settings.questions), address="auto")
    except exit_codes.REPORTED as error:
        sys.stderr.write(f"docpipe: {error}\n")
        return exit_codes.exit_code(error)
    sys.stdout.write(summary(report) + "\n")
    return int(report["exit_code"])


if __name__ == "__main__":
    sys.exit(main())

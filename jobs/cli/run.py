"""Defines ``docpipe run`` and ``docpipe plan``, which turn options into settings for one function."""

from __future__ import annotations

from functools import wraps
from typing import Annotated, Any

import typer

from jobs.cli.options import (
    CLUSTER,
    PAGES,
    RUN,
    Attn,
    Calibration,
    Config,
    Device,
    Dpi,
    DropBlank,
    Dtype,
    Fallback,
    Glimpse,
    Input,
    Limit,
    LookAgain,
    MaxNewTokens,
    MaxRatio,
    MaxVisualTokens,
    MinTokens,
    Model,
    Ocr,
    OutputFolder,
    PasswordFile,
    Preset,
    Prompt,
    Prune,
    Questions,
    RepetitionPenalty,
    Revision,
    Schema,
    SkipBelow,
    Threshold,
    option,
)
from jobs.cli.submitted import submit_and_follow
from jobs.exit_codes import as_exit_code
from jobs.log import Log

RUN_EXAMPLE = "run --input pdfs/ --questions q.yaml --output answers/"
PLAN_EXAMPLE = "plan --input pdfs/ --questions q.yaml --output answers/"

Engine = Annotated[
    str | None,
    option(CLUSTER, "ray, local (a plain loop in this process), or auto (ray for much work).", default="auto"),
]
Actors = Annotated[
    str | None,
    option(
        CLUSTER,
        "Processes that hold a model: a number, or 4-20 to follow the cluster as it grows and shrinks.",
        default="one per GPU, or per 16 CPUs without GPUs",
    ),
]
GpusPerActor = Annotated[float | None, option(CLUSTER, "GPUs per actor.", default="1 where there are GPUs")]
Address = Annotated[
    str | None, option(CLUSTER, "auto or http://head:8265: submit to a cluster.", default="run on this machine")
]
Detach = Annotated[bool | None, option(CLUSTER, "Submit, but do not follow.", "--detach", default="off")]
SharedFs = Annotated[
    bool | None, option(CLUSTER, "Local paths mean the same on every node.", "--shared-fs", default="off")
]
Wheel = Annotated[
    str | None,
    option(CLUSTER, "Wheel for the cluster to install, as dist/x.whl\\[s3].", default="docpipe is on every node"),
]
MaxFailedShare = Annotated[float | None, option(RUN, "Exit with 1 above this share of failed answers.", default="0.05")]
Deadline = Annotated[float | None, option(PAGES, "Most seconds per page, 1 or more.", default="set from the median")]
DocumentSeconds = Annotated[float | None, option(PAGES, "Most seconds to render one document.", default="3600")]
Seed = Annotated[int | None, option(RUN, "Seed of the run.", default="0")]
LogFormat = Annotated[
    str | None,
    option(RUN, "text, or json: one JSON object per line on standard error, with a line per page.", default="text"),
]
Quiet = Annotated[bool | None, option(RUN, "Print errors only.", "--quiet", default="off")]
Verbose = Annotated[bool | None, option(RUN, "Sum up tokens, memory and speed too.", "--verbose", default="off")]


Locale = Annotated[
    str | None,
    option(
        RUN,
        "How the documents write numbers and dates, as en_US; a question may say otherwise.",
        default="not declared",
    ),
]
ReviewBelow = Annotated[
    float | None,
    option(RUN, "Have answers of a lower confidence (0 to 1) reviewed.", default="0.5: likelier wrong than right"),
]


Reworded = Annotated[
    bool | None,
    option(RUN, "Ask a changed question anew; its old answers stay, not current.", "--reworded", default="refuse it"),
]


def run(
    input: Input = None,
    questions: Questions = None,
    schema: Schema = None,
    output: OutputFolder = None,
    model: Model = None,
    glimpse: Glimpse = None,
    revision: Revision = None,
    prune: Prune = None,
    fallback: Fallback = None,
    look_again: LookAgain = None,
    drop_blank: DropBlank = None,
    threshold: Threshold = None,
    max_ratio: MaxRatio = None,
    min_tokens: MinTokens = None,
    dpi: Dpi = None,
    max_visual_tokens: MaxVisualTokens = None,
    engine: Engine = None,
    actors: Actors = None,
    gpus_per_actor: GpusPerActor = None,
    address: Address = None,
    detach: Detach = None,
    shared_fs: SharedFs = None,
    wheel: Wheel = None,
    limit: Limit = None,
    max_failed_share: MaxFailedShare = None,
    deadline: Deadline = None,
    document_seconds: DocumentSeconds = None,
    password_file: PasswordFile = None,
    locale: Locale = None,
    calibration: Calibration = None,
    review_below: ReviewBelow = None,
    skip_below: SkipBelow = None,
    ocr: Ocr = None,
    reworded: Reworded = None,
    device: Device = None,
    dtype: Dtype = None,
    attn: Attn = None,
    repetition_penalty: RepetitionPenalty = None,
    prompt: Prompt = None,
    max_new_tokens: MaxNewTokens = None,
    preset: Preset = None,
    seed: Seed = None,
    config: Config = None,
    log_format: LogFormat = None,
    quiet: Quiet = None,
    verbose: Verbose = None,
) -> None:
    """Answer every question on every page it applies to, and write Parquet. The same command resumes."""
    flags = {key: value for key, value in locals().items() if key != "config"}
    with as_exit_code() as ending:
        if log_format == "json":  # settings that cannot be read are told so, too
            ending.log = Log("json")
        from jobs.settings import load_settings, questions_of

        settings = load_settings(config, flags)
        ending.log = Log(settings.log_format)
        asked = questions_of(settings)
        if settings.address is not None:
            raise typer.Exit(submit_and_follow(settings, asked, settings.address))
        from jobs.run.closing import say_how_it_ended
        from jobs.run.job import run_job

        report = run_job(settings, asked)
        if not settings.quiet:
            say_how_it_ended(report, settings.log_format, typer.echo)
    raise typer.Exit(report["exit_code"])


@wraps(run, assigned=("__annotations__",), updated=())
def plan(**flags: Any) -> None:
    """Forecast a run without loading a model: documents, pages, units, visual tokens, memory and time."""
    config = flags.pop("config")
    from jobs.commands.forecast import forecast
    from jobs.settings import load_settings, questions_of

    settings = load_settings(config, flags)
    typer.echo(forecast(settings, questions_of(settings)))

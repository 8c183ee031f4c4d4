"""Defines ``docpipe eval`` and ``docpipe calibrate``, which turn options into settings for one function each."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from jobs.cli.options import (
    DATA,
    Attn,
    Calibration,
    Data,
    Device,
    Dpi,
    DropBlank,
    Dtype,
    Fallback,
    Glimpse,
    Images,
    LookAgain,
    MaxNewTokens,
    MaxRatio,
    MaxVisualTokens,
    MinTokens,
    Model,
    Preset,
    Prompt,
    RepetitionPenalty,
    Revision,
    Threshold,
    option,
)

MEASURING = "Measuring"


def eval_command(
    data: Data,
    out: Annotated[Path, option(DATA, "Parquet file to write, one row per answer.")],
    images: Images = None,
    benchmark: Annotated[
        str | None,
        option(DATA, "Read --data as this benchmark: docvqa, infovqa, textvqa ...", default="none"),
    ] = None,
    compare: Annotated[
        str,
        option(MEASURING, "Modes to measure, separated by commas: off, glimpse, random, fastv ..."),
    ] = "off,glimpse,random",
    keep: Annotated[
        str | None,
        option(MEASURING, "Shares of tokens to keep in each mode, such as 0.111,0.5.", default="as glimpse does"),
    ] = None,
    model: Model = None,
    glimpse: Glimpse = None,
    revision: Revision = None,
    calibration: Calibration = None,
    fallback: Fallback = None,
    look_again: LookAgain = None,
    drop_blank: DropBlank = None,
    threshold: Threshold = None,
    max_ratio: MaxRatio = None,
    min_tokens: MinTokens = None,
    dpi: Dpi = None,
    max_visual_tokens: MaxVisualTokens = None,
    pages: Annotated[int | None, option(DATA, "Measure only this many pages, from the first.", default="all")] = None,
    device: Device = None,
    dtype: Dtype = None,
    attn: Attn = None,
    repetition_penalty: RepetitionPenalty = None,
    prompt: Prompt = None,
    max_new_tokens: MaxNewTokens = None,
    preset: Preset = None,
    seed: Annotated[int, option(MEASURING, "Seed of the random masks.")] = 0,
    by_question: Annotated[
        bool, option(MEASURING, "Print the figures of each question too.", "--by-question", default="off")
    ] = False,
    quiet: Annotated[bool, option(MEASURING, "Print the tables only.", "--quiet", default="off")] = False,
) -> None:
    """Measure a model on questions with known answers: unpruned, pruned, and pruned at random to the same size."""
    given = {name: value for name, value in locals().items() if name not in ("compare", "keep", "by_question")}
    from jobs.commands.benchmark import run_benchmark
    from jobs.commands.evaluate import EvalSettings, evaluate, parse_modes, parse_shares
    from jobs.settings import validated
    from pipeline.evaluation.further_tables import confidence_scores, confidence_table, question_table
    from pipeline.evaluation.score_table import scores, table

    shares = parse_shares(keep)
    settings = validated(EvalSettings, {**given, "compare": parse_modes(compare, shares), "keep": shares})
    if settings.benchmark is not None:
        typer.echo(run_benchmark(settings))
        return
    rows = evaluate(settings)
    typer.echo(f"{table(scores(rows))}\n\n{confidence_table(confidence_scores(rows))}")
    if by_question:
        typer.echo(f"\n{question_table(rows)}")


def calibrate_command(
    data: Annotated[
        list[str],
        option(DATA, "As in eval: labelled pages; may be given several times.", "--data", default=False),
    ],
    out: Annotated[
        Path | None, option(DATA, "JSON file to write.", default="calibration.json beside the add-on or model")
    ] = None,
    images: Images = None,
    model: Model = None,
    glimpse: Glimpse = None,
    revision: Revision = None,
    look_again: LookAgain = None,
    drop_blank: DropBlank = None,
    threshold: Threshold = None,
    max_ratio: MaxRatio = None,
    min_tokens: MinTokens = None,
    dpi: Dpi = None,
    max_visual_tokens: MaxVisualTokens = None,
    pages: Annotated[int | None, option(DATA, "Ask only about this many pages of each.", default="all")] = None,
    device: Device = None,
    dtype: Dtype = None,
    attn: Attn = None,
    repetition_penalty: RepetitionPenalty = None,
    prompt: Prompt = None,
    max_new_tokens: MaxNewTokens = None,
    preset: Preset = None,
    quiet: Annotated[bool, option(MEASURING, "Print errors only.", "--quiet", default="off")] = False,
) -> None:
    """Learn from labelled pages how often a model's answers are right, so that its confidence means what it says."""
    given = dict(locals())
    from jobs.commands.calibrate import CalibrateSettings, calibrate
    from jobs.settings import validated

    settings = validated(CalibrateSettings, given)
    written = calibrate(settings, (lambda _: None) if settings.quiet else typer.echo)
    if not settings.quiet:
        typer.echo(f"calibration in {written}")

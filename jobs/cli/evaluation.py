"""Defines ``docpipe eval``, which turns options into settings for one function."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from jobs.cli.options import (
    DATA,
    Attn,
    Data,
    Device,
    Dpi,
    DropBlank,
    Dtype,
    Glimpse,
    Images,
    MaxRatio,
    MaxVisualTokens,
    MinTokens,
    Model,
    Revision,
    Threshold,
    option,
)
from jobs.exit_codes import as_exit_code

MEASURING = "Measuring"


def eval_command(
    data: Data,
    out: Annotated[Path, option(DATA, "Parquet file to write, one row per answer.")],
    images: Images = None,
    compare: Annotated[
        str, option(MEASURING, "Modes to measure, separated by commas: off, glimpse, random.")
    ] = "off,glimpse,random",
    model: Model = None,
    glimpse: Glimpse = None,
    revision: Revision = None,
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
    seed: Annotated[int, option(MEASURING, "Seed of the random masks.")] = 0,
    quiet: Annotated[bool, option(MEASURING, "Print the table only.", "--quiet", default="off")] = False,
) -> None:
    """Measure a model on questions with known answers: unpruned, pruned, and pruned at random to the same size."""
    given = {name: value for name, value in locals().items() if name != "compare"}
    with as_exit_code():
        from jobs.commands.evaluate import EvalSettings, evaluate, parse_modes
        from jobs.settings import validated
        from pipeline.evaluation.score_table import table

        typer.echo(table(evaluate(validated(EvalSettings, {**given, "compare": parse_modes(compare)}))))

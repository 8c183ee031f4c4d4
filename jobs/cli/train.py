"""Defines ``docpipe train`` and ``docpipe eval``, which turn options into settings for one function."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from jobs.cli.options import (
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
)
from jobs.exit_codes import as_exit_code

train_app = typer.Typer(help="Train an add-on for a model, or the embedded model.", no_args_is_help=True)

Gpu = Annotated[bool | None, typer.Option("--gpu/--cpu", help="One worker per GPU; by default if there is a GPU.")]


@train_app.command("glimpse")
def glimpse_command(
    data: Data,
    out: Annotated[Path, typer.Option(help="Folder of the add-on; training state is kept in training/ below it.")],
    images: Images = None,
    model: Model = None,
    glimpse: Annotated[str | None, typer.Option(help="Add-on to start from; a new one by default.")] = None,
    revision: Revision = None,
    reduce_layer: Annotated[
        int | None, typer.Option(help="K, the layer to prune after; 0.65 of the depth by default.")
    ] = None,
    questions: Annotated[int, typer.Option(help="Questions to train on; the data repeat if there are fewer.")] = 20_000,
    batch: Annotated[int, typer.Option(help="Questions per forward pass.")] = 8,
    accumulate: Annotated[int, typer.Option(help="Forward passes per step.")] = 1,
    kl: Annotated[float, typer.Option(help="Weight of the KL divergence from the unpruned answer.")] = 0.0,
    language: Annotated[float, typer.Option(help="Weight of the cross-entropy of the pruned answer.")] = 1.0,
    localisation: Annotated[float, typer.Option(help="Weight of Dice and cross-entropy against the boxes.")] = 1.0,
    retention: Annotated[float, typer.Option(help="Weight of the expected share of tokens kept.")] = 0.0,
    margin: Annotated[float, typer.Option(help="Visual tokens by which boxes grow on every side.")] = 0.0,
    drop_blank_share: Annotated[
        float, typer.Option("--drop-blank", help="Share of pages whose blank paper is hidden.")
    ] = 0.0,
    rate: Annotated[float, typer.Option(help="Highest learning rate.")] = 1e-4,
    warm_up: Annotated[float, typer.Option(help="Share of the steps in which the rate rises.")] = 0.1,
    dpi: Dpi = None,
    max_visual_tokens: MaxVisualTokens = None,
    dtype: Dtype = None,
    seed: Annotated[int, typer.Option(help="Seed of order, noise and first weights.")] = 0,
    gpu: Gpu = None,
) -> None:
    """Train an add-on (stage 1 of GlimpsePrune) for a frozen model. The same command resumes."""
    given = {name: value for name, value in locals().items() if name not in ("out", "gpu")}
    with as_exit_code():
        from jobs.settings import validated
        from jobs.training.glimpse import GlimpseSettings, train_glimpse

        settings = validated(GlimpseSettings, given)
        train_glimpse(settings, out, _gpu(gpu), typer.echo)
        typer.echo(f"add-on in {out}; use it with docpipe run --model {settings.choice.model} --glimpse {out}")


@train_app.command("nano")
def nano_command(
    out: Annotated[Path, typer.Option(help="Folder of the training state; the model goes to base/ below it.")],
    seed: Annotated[int, typer.Option(help="Seed of weights and data.")] = 0,
    gpu: Gpu = None,
    threads: Annotated[int | None, typer.Option(help="CPU threads; all by default.", min=1)] = None,
) -> None:
    """Train the embedded model from random weights, which takes hours on two CPU cores. The same command resumes."""
    with as_exit_code():
        from jobs.training.nano import train_nano

        typer.echo(f"model in {train_nano(out, seed, _gpu(gpu), threads, typer.echo)}")


def eval_command(
    data: Data,
    out: Annotated[Path, typer.Option(help="Parquet file to write, one row per answer.")],
    images: Images = None,
    compare: Annotated[
        str, typer.Option(help="Modes to measure, separated by commas: off, glimpse, random.")
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
    pages: Annotated[int | None, typer.Option(help="Measure only this many pages, from the first.")] = None,
    device: Device = None,
    dtype: Dtype = None,
    attn: Attn = None,
    seed: Annotated[int, typer.Option(help="Seed of the random masks.")] = 0,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print the table only.")] = False,
) -> None:
    """Measure a model on questions with known answers: unpruned, pruned, and pruned at random to the same size."""
    given = {name: value for name, value in locals().items() if name != "compare"}
    with as_exit_code():
        from jobs.commands.evaluate import EvalSettings, evaluate, parse_modes
        from jobs.settings import validated
        from pipeline.evaluation.score_table import table

        typer.echo(table(evaluate(validated(EvalSettings, {**given, "compare": parse_modes(compare)}))))


def _gpu(asked: bool | None) -> bool:
    if asked is not None:
        return asked
    import torch

    return torch.cuda.is_available()

"""``docpipe train`` and ``docpipe eval``: options to settings to one function."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from jobs.reported import reported, validated

train_app = typer.Typer(help="Train an add-on for a model, or the embedded model.", no_args_is_help=True)

Data = Annotated[str, typer.Option(help="Folder of `docpipe samples`, Visual-CoT .jsonl, or DocVQA .json.")]
Images = Annotated[str | None, typer.Option(help="Folder of the images that a .json or .jsonl file names.")]
Gpu = Annotated[bool | None, typer.Option("--gpu/--cpu", help="A worker for each GPU; where there is one by default.")]


@train_app.command("glimpse")
def glimpse_command(
    data: Data,
    out: Annotated[Path, typer.Option(help="Folder of the add-on; training state is kept in training/ below it.")],
    images: Images = None,
    model: Annotated[str, typer.Option(help="nano, a folder or a hub id.")] = "nano",
    glimpse: Annotated[str | None, typer.Option(help="Add-on to start from; a fresh one by default.")] = None,
    reduce_layer: Annotated[
        int | None, typer.Option(help="K, after which is pruned; 0.65 of the depth by default.")
    ] = None,
    questions: Annotated[int, typer.Option(help="Questions to train on; the data are repeated if need be.")] = 20_000,
    batch: Annotated[int, typer.Option(help="Questions of a forward pass.")] = 8,
    accumulate: Annotated[int, typer.Option(help="Forward passes a step.")] = 1,
    kl: Annotated[float, typer.Option(help="Weight of the KL divergence from the unpruned answer.")] = 0.0,
    language: Annotated[float, typer.Option(help="Weight of the cross-entropy of the pruned answer.")] = 1.0,
    localisation: Annotated[float, typer.Option(help="Weight of Dice and cross-entropy against the boxes.")] = 1.0,
    retention: Annotated[float, typer.Option(help="Weight of the expected share of tokens kept.")] = 0.0,
    margin: Annotated[float, typer.Option(help="Visual tokens by which boxes are grown on every side.")] = 0.0,
    drop_blank: Annotated[float, typer.Option(help="Share of pages whose blank paper is not shown.")] = 0.0,
    rate: Annotated[float, typer.Option(help="Highest learning rate.")] = 1e-4,
    warm_up: Annotated[float, typer.Option(help="Share of the steps in which it rises.")] = 0.1,
    dpi: Annotated[int | None, typer.Option(help="Resolution of PDF pages; 200 by default, 144 for nano.")] = None,
    max_visual_tokens: Annotated[int | None, typer.Option(help="Of a page.")] = None,
    seed: Annotated[int, typer.Option(help="Of order, noise and first weights.")] = 0,
    gpu: Gpu = None,
) -> None:
    """Stage 1 of GlimpsePrune: glimpse token and predictor for a frozen model. The same command resumes."""
    given = {name: value for name, value in locals().items() if name not in ("out", "gpu")}
    with reported():
        from jobs.train_glimpse import GlimpseSettings, train_glimpse

        train_glimpse(validated(GlimpseSettings, given), out, _gpu(gpu), typer.echo)
        typer.echo(f"add-on in {out}; use it with docpipe run --model {model} --glimpse {out}")


@train_app.command("nano")
def nano_command(
    out: Annotated[Path, typer.Option(help="Folder of the training state; the model goes to base/ below it.")],
    seed: Annotated[int, typer.Option(help="Of weights and data.")] = 0,
    gpu: Gpu = None,
    threads: Annotated[int | None, typer.Option(help="CPU threads; all by default.", min=1)] = None,
) -> None:
    """Train the embedded model from random weights; hours on two CPU cores. The same command resumes."""
    with reported():
        from jobs.train_nano import train_nano

        typer.echo(f"model in {train_nano(out, seed, _gpu(gpu), threads, typer.echo)}")


def eval_command(
    data: Data,
    out: Annotated[Path, typer.Option(help="Parquet file that gets a row for each answer.")],
    images: Images = None,
    compare: Annotated[str, typer.Option(help="Some of off, glimpse, random.")] = "off,glimpse,random",
    model: Annotated[str, typer.Option(help="nano, a folder or a hub id.")] = "nano",
    glimpse: Annotated[str | None, typer.Option(help="Add-on: folder or hub id.")] = None,
    drop_blank: Annotated[bool, typer.Option("--drop-blank", help="Do not show blank paper to the model.")] = False,
    threshold: Annotated[float | None, typer.Option(help="Keep where sigmoid(score) is above.")] = None,
    max_ratio: Annotated[float | None, typer.Option(help="Keep this share of a page's tokens at most.")] = None,
    min_tokens: Annotated[int | None, typer.Option(help="Keep this many tokens of a page at least.")] = None,
    dpi: Annotated[int | None, typer.Option(help="Resolution of PDF pages; 200 by default, 144 for nano.")] = None,
    max_visual_tokens: Annotated[int | None, typer.Option(help="Of a page.")] = None,
    pages: Annotated[int | None, typer.Option(help="Measure the first pages only.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    dtype: Annotated[str, typer.Option(help="auto, float32, bfloat16 or float16.")] = "auto",
    seed: Annotated[int, typer.Option(help="Of the random masks.")] = 0,
    quiet: Annotated[bool, typer.Option("--quiet", help="Say nothing but the table.")] = False,
) -> None:
    """Measure a model on questions with known answers: unpruned, pruned, and pruned at random to the same size."""
    given = {name: value for name, value in locals().items() if name != "compare"}
    with reported():
        from jobs.evaluate import EvalSettings, evaluate, parse_modes
        from pipeline.vqa.report import table

        typer.echo(table(evaluate(validated(EvalSettings, {**given, "compare": parse_modes(compare)}))))


def _gpu(asked: bool | None) -> bool:
    if asked is not None:
        return asked
    import torch

    return torch.cuda.is_available()

"""Defines ``docpipe train``, which turns options into settings for one function."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from jobs.cli.options import (
    MODEL,
    Data,
    Dpi,
    Dtype,
    Glimpse,
    Images,
    MaxNewTokens,
    MaxVisualTokens,
    Model,
    Revision,
    example,
    option,
)

train_app = typer.Typer(
    help="Train an add-on for a model, a model on its pruned sequences, or the embedded model.", no_args_is_help=True
)

RECIPE, LOSS, REWARD, TRAINING = "Recipe", "Loss", "Reward", "Training"
Gpu = Annotated[
    bool | None,
    option(TRAINING, "One worker per GPU, or one on all CPUs.", "--gpu/--cpu", default="GPUs if any"),
]


@train_app.command("glimpse", epilog=example("train glimpse --data samples/ --out addon/"))
def glimpse_command(
    data: Data,
    out: Annotated[Path, option(TRAINING, "Folder of the add-on; training state is kept in training/ below it.")],
    images: Images = None,
    model: Model = None,
    glimpse: Annotated[
        str | None, option(MODEL, "Add-on to start from: folder or hub id.", default="a new one")
    ] = None,
    revision: Revision = None,
    reduce_layer: Annotated[
        int | None, option(MODEL, "K, the layer to prune after.", default="0.65 of the depth")
    ] = None,
    questions: Annotated[int, option(RECIPE, "Questions to train on; the data repeat if there are fewer.")] = 20_000,
    batch: Annotated[int, option(RECIPE, "Questions per forward pass.")] = 8,
    accumulate: Annotated[int, option(RECIPE, "Forward passes per step.")] = 1,
    kl: Annotated[float, option(LOSS, "Weight of the KL divergence from the unpruned answer.")] = 0.0,
    language: Annotated[float, option(LOSS, "Weight of the cross-entropy of the pruned answer.")] = 1.0,
    localisation: Annotated[float, option(LOSS, "Weight of Dice and cross-entropy against the boxes.")] = 1.0,
    retention: Annotated[float, option(LOSS, "Weight of the expected share of tokens kept.")] = 0.0,
    margin: Annotated[float, option(LOSS, "Visual tokens by which boxes grow on every side.")] = 0.0,
    drop_blank_share: Annotated[
        float, option(RECIPE, "Share of pages whose blank paper is hidden.", "--drop-blank")
    ] = 0.0,
    rate: Annotated[float, option(RECIPE, "Highest learning rate.")] = 1e-4,
    warm_up: Annotated[float, option(RECIPE, "Share of the steps in which the rate rises.")] = 0.1,
    dpi: Dpi = None,
    max_visual_tokens: MaxVisualTokens = None,
    dtype: Dtype = None,
    seed: Annotated[int, option(TRAINING, "Seed of order, noise and first weights.")] = 0,
    gpu: Gpu = None,
) -> None:
    """Train an add-on (stage 1 of GlimpsePrune) for a frozen model. The same command resumes."""
    given = {name: value for name, value in locals().items() if name not in ("out", "gpu")}
    from jobs.settings import validated
    from jobs.training.glimpse import GlimpseSettings, train_glimpse

    settings = validated(GlimpseSettings, given)
    train_glimpse(settings, out, _gpu(gpu), typer.echo)
    typer.echo(f"add-on in {out}; use it with docpipe run --model {settings.choice.model} --glimpse {out}")


@train_app.command("plus", epilog=example("train plus --data samples/ --out plus/"))
def plus_command(
    data: Data,
    out: Annotated[
        Path, option(TRAINING, "Folder of the result: model/ and glimpse/; training state is kept in training/.")
    ],
    images: Images = None,
    model: Model = None,
    glimpse: Glimpse = None,
    revision: Revision = None,
    max_new_tokens: MaxNewTokens = None,
    questions: Annotated[int, option(RECIPE, "Questions to sample answers to; the data repeat.")] = 4_000,
    batch: Annotated[int, option(RECIPE, "Questions per forward pass.")] = 4,
    accumulate: Annotated[int, option(RECIPE, "Forward passes per step.")] = 4,
    samples: Annotated[int, option(RECIPE, "Answers sampled per question.")] = 4,
    reward: Annotated[str, option(REWARD, "exact, anls or typed (equal under the type of the question).")] = "anls",
    judge: Annotated[
        str | None, option(REWARD, "Address of an OpenAI-compatible API that grades instead.", default="none")
    ] = None,
    judge_model: Annotated[str | None, option(REWARD, "Name of the model there.", default="none")] = None,
    pruning: Annotated[float, option(REWARD, "Weight of the share of visual tokens that are dropped.")] = 0.1,
    kl: Annotated[float, option(LOSS, "Weight of the KL divergence from the frozen model.")] = 0.04,
    drop_blank_share: Annotated[
        float, option(RECIPE, "Share of pages whose blank paper is hidden.", "--drop-blank")
    ] = 0.0,
    rate: Annotated[float, option(RECIPE, "Highest learning rate.")] = 1e-5,
    warm_up: Annotated[float, option(RECIPE, "Share of the steps in which the rate rises.")] = 0.1,
    addon_questions: Annotated[
        int, option(RECIPE, "Questions of stage 1 on the tuned model; 0 leaves the add-on as it is.")
    ] = 20_000,
    dpi: Dpi = None,
    max_visual_tokens: MaxVisualTokens = None,
    dtype: Dtype = None,
    seed: Annotated[int, option(TRAINING, "Seed of order, samples and first weights.")] = 0,
    gpu: Gpu = None,
) -> None:
    """Tune a model on its pruned sequences (GlimpsePrune+), and its add-on again. The same command resumes."""
    given = {name: value for name, value in locals().items() if name not in ("out", "gpu")}
    from jobs.settings import validated
    from jobs.training.plus import ADDON, PlusSettings, train_plus
    from jobs.training.plus import MODEL as TUNED

    train_plus(validated(PlusSettings, given), out, _gpu(gpu), typer.echo)
    typer.echo(f"use it with docpipe run --model {out / TUNED} --glimpse {out / ADDON}")


@train_app.command("nano", epilog=example("train nano --out nano/"))
def nano_command(
    out: Annotated[Path, option(TRAINING, "Folder of the training state; the model goes to base/ below it.")],
    seed: Annotated[int, option(TRAINING, "Seed of weights and data.", min=0, max=2**32 - 1)] = 0,
    gpu: Gpu = None,
    threads: Annotated[
        int | None, typer.Option(help="CPU threads.", min=1, rich_help_panel=TRAINING, show_default="all")
    ] = None,
) -> None:
    """Train the embedded model from random weights, which takes hours on two CPU cores. The same command resumes."""
    from jobs.training.nano import train_nano

    typer.echo(f"model in {train_nano(out, seed, _gpu(gpu), threads, typer.echo)}")


def _gpu(asked: bool | None) -> bool:
    if asked is not None:
        return asked
    import torch

    return torch.cuda.is_available()

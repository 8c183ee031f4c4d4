"""Does the work of ``docpipe train glimpse``: stage 1 of GlimpsePrune for any supported base."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from jobs.model_choice import ModelChoice, Seed, gather_choice
from jobs.training.fit import CHECKPOINT, fit
from pipeline.answering.checkpoints import NANO, default_dpi, resolve_addon, resolve_model
from pipeline.families.registry import find_family
from pipeline.output.faults import writing

if TYPE_CHECKING:
    from glimpseprune.methods.glimpse.module import Glimpse
    from pipeline.answering.page_answerer import PageAnswerer
    from pipeline.datasets.page_images import PageImages
    from pipeline.datasets.training_examples import GlimpseTask


class GlimpseSettings(BaseModel):
    """All settings of ``docpipe train glimpse``; the defaults are the published recipe (20,000 questions)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: str
    images: str | None = None
    choice: ModelChoice = ModelChoice()  # its add-on is the one to start from
    reduce_layer: int | None = Field(default=None, ge=0)
    questions: int = Field(default=20_000, ge=1)
    batch: int = Field(default=8, ge=1)
    accumulate: int = Field(default=1, ge=1)
    kl: float = Field(default=0.0, ge=0)
    language: float = Field(default=1.0, ge=0)
    localisation: float = Field(default=1.0, ge=0)
    retention: float = Field(default=0.0, ge=0)
    margin: float = Field(default=0.0, ge=0)
    drop_blank_share: float = Field(default=0.0, ge=0, le=1)
    rate: float = Field(default=1e-4, gt=0)
    warm_up: float = Field(default=0.1, ge=0, le=1)
    seed: Seed = 0

    gather = model_validator(mode="before")(gather_choice)


def train_glimpse(settings: GlimpseSettings, out: Path, gpu: bool, show: Callable[[str], Any]) -> None:
    """Start or resume training, and write the add-on to ``out``.

    Args:
        settings: settings of the training.
        out: folder of the add-on.
        gpu: true to train on GPUs, false to train on CPUs.
        show: function that prints a line.

    Raises:
        UsageError: the data set cannot be read, or a name cannot be resolved.
        EngineError: a worker failed.
        ModelError: the base cannot be loaded.
    """
    from pipeline.datasets.load import load_examples

    load_examples(settings.data, settings.images)  # report a mistake there before anything starts
    resolve_model(settings.choice.model, settings.choice.revision)
    work = out / "training"
    told = from_anywhere(settings.model_dump())
    fit(make_task, told, work, gpu, show)

    from glimpseprune import save_addon
    from glimpseprune.training.trainer import load_checkpoint

    task = make_task(told, 1, "cpu")
    load_checkpoint(work / CHECKPOINT, task)
    with writing(out):
        save_addon(task.module, out)


def from_anywhere(told: dict[str, Any]) -> dict[str, Any]:
    """Give the paths of settings from the root, since a worker of Ray Train runs in another folder.

    Args:
        told: settings of a training on a data set, as plain data.
    """
    told = {**told, "choice": dict(told["choice"])}
    for where, name in ((told, "data"), (told, "images"), (told["choice"], "model"), (told["choice"], "glimpse")):
        given = where[name]
        if given not in (None, NANO) and Path(given).expanduser().exists():
            where[name] = str(Path(given).expanduser().absolute())
    return told


def page_images(choice: ModelChoice) -> PageImages:
    """Make the renderer of pages at the size that a model takes.

    Args:
        choice: the model, and how it sees a page.
    """
    from pipeline.datasets.page_images import PageImages
    from pipeline.pages.renderer import RenderChild

    folder = resolve_model(choice.model, choice.revision)
    budget = find_family(folder).read_budget(folder, choice.max_visual_tokens)
    return PageImages(RenderChild(), choice.dpi or default_dpi(choice.model), budget)


def make_task(settings: dict[str, Any], workers: int, device: str) -> GlimpseTask:
    """Make the task in a worker."""
    import torch

    from glimpseprune.training.stage1 import LossWeights
    from pipeline.answering.page_answerer import PageAnswerer
    from pipeline.datasets.load import load_examples
    from pipeline.datasets.training_examples import GlimpseTask

    chosen = GlimpseSettings.model_validate(settings)
    choice = chosen.choice
    # The gates are an attention bias, which flash attention does not support.
    page_answerer = PageAnswerer.load(choice.model, None, device, choice.dtype, "sdpa", chosen.seed, choice.revision)
    torch.manual_seed(chosen.seed)
    glimpse = _start(page_answerer, chosen)
    return GlimpseTask(
        page_answerer.model,
        glimpse,
        page_answerer.processor,
        page_images(choice),
        load_examples(chosen.data, chosen.images),
        steps=-(-chosen.questions // (chosen.batch * chosen.accumulate * workers)),
        accumulation_steps=chosen.accumulate,
        questions=chosen.batch,
        weights=LossWeights(chosen.kl, chosen.language, chosen.localisation, chosen.retention),
        margin=chosen.margin,
        drop_blank=chosen.drop_blank_share,
        rate=chosen.rate,
        warm_up=chosen.warm_up,
        seed=chosen.seed,
        workers=workers,
    )


def _start(page_answerer: PageAnswerer, settings: GlimpseSettings) -> Glimpse:
    """Return the add-on to start from: a new one, or the one that the settings name."""
    from glimpseprune import new_glimpse
    from glimpseprune.loading import addon_folder
    from glimpseprune.methods.glimpse.addon import load_addon
    from pipeline.answering.checkpoints import check_fit

    if settings.choice.glimpse is None:
        return new_glimpse(page_answerer.model, settings.reduce_layer)
    folder = addon_folder(resolve_addon(settings.choice.glimpse))
    check_fit(resolve_model(settings.choice.model, settings.choice.revision), folder)
    glimpse = load_addon(folder)
    page_answerer.model.backbone.shape.check_prune_layer(glimpse.prune_layer)
    return glimpse.to(page_answerer.model.backbone.device)

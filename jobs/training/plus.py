"""Does the work of ``docpipe train plus``: GRPO on pruned sequences, then stage 1 again on the tuned model."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from jobs.model_choice import ModelChoice, Seed, gather_choice
from jobs.training.fit import CHECKPOINT, fit
from jobs.training.glimpse import GlimpseSettings, from_anywhere, page_images, train_glimpse
from pipeline.answering.checkpoints import default_addon, default_dpi, resolve_addon, resolve_model
from pipeline.errors import UsageError
from pipeline.output.faults import writing

if TYPE_CHECKING:
    from pipeline.training.plus_task import PlusTask

MODEL, ADDON = "model", "glimpse"
_LONGEST = 32  # tokens of an answer, as in `docpipe eval`


class PlusSettings(BaseModel):
    """All settings of ``docpipe train plus``; group size and KL weight are those of the published recipe."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: str
    images: str | None = None
    choice: ModelChoice = ModelChoice()
    questions: int = Field(default=4_000, ge=1)
    batch: int = Field(default=4, ge=1)
    accumulate: int = Field(default=4, ge=1)
    samples: int = Field(default=4, ge=2)
    reward: Literal["exact", "anls", "typed"] = "anls"
    judge: str | None = None
    judge_model: str | None = None
    pruning: float = Field(default=0.1, ge=0)
    kl: float = Field(default=0.04, ge=0)
    drop_blank_share: float = Field(default=0.0, ge=0, le=1)
    rate: float = Field(default=1e-5, gt=0)
    warm_up: float = Field(default=0.1, ge=0, le=1)
    addon_questions: int = Field(default=20_000, ge=0)
    seed: Seed = 0

    gather = model_validator(mode="before")(gather_choice)

    @model_validator(mode="after")
    def check_judge(self) -> PlusSettings:
        """Refuse a judge without its model, and the other way round."""
        if (self.judge is None) != (self.judge_model is None):
            raise ValueError("--judge: expected an address together with --judge-model, found one of them; give both")
        return self

    @property
    def addon(self) -> str | None:
        """Add-on that prunes, by name."""
        return self.choice.glimpse or default_addon(self.choice.model)


def train_plus(settings: PlusSettings, out: Path, gpu: bool, show: Callable[[str], Any]) -> None:
    """Start or resume training, and write the tuned model and its add-on to ``out``.

    Args:
        settings: settings of the training.
        out: folder of the result: ``model/`` and ``glimpse/``.
        gpu: true to train on GPUs, false to train on CPUs.
        show: function that prints a line.

    Raises:
        UsageError: the data set cannot be read, a name cannot be resolved, or there is no add-on or no peft.
        EngineError: a worker failed, or the judge does not reply.
        ModelError: the base cannot be loaded.
    """
    from pipeline.datasets.load import load_examples

    if find_spec("peft") is None:
        raise UsageError("docpipe train plus needs peft; install the extra: pip install -e '.[train]'")
    load_examples(settings.data, settings.images)  # report a mistake there before anything starts
    source = resolve_model(settings.choice.model, settings.choice.revision)
    if settings.addon is None:
        raise UsageError("--glimpse: expected the add-on that prunes, found none; name one, or train one first")
    addon = resolve_addon(settings.addon)
    work = out / "training"
    told = from_anywhere(settings.model_dump())
    fit(make_task, told, work, gpu, show)

    from glimpseprune import save_addon
    from glimpseprune.methods.glimpse.addon import load_addon
    from glimpseprune.training.grpo.export import save_tuned
    from glimpseprune.training.trainer import load_checkpoint

    task = make_task(told, 1, "cpu")
    load_checkpoint(work / CHECKPOINT, task)
    task.images.child.close()
    task.module.merge()
    with writing(out):
        save_tuned(task.model, source, out / MODEL)
    show(f"model in {out / MODEL}")
    if settings.addon_questions:
        train_glimpse(_stage1(settings, out / MODEL), out / ADDON, gpu, show)
    else:
        with writing(out):
            save_addon(load_addon(addon), out / ADDON)


def _stage1(settings: PlusSettings, model: Path) -> GlimpseSettings:
    """Return the settings of stage 1 on the tuned model, from the add-on that it was tuned with."""
    mine = settings.choice
    fields = {
        "model": str(model),
        "glimpse": settings.addon,
        "revision": None,
        "dpi": mine.dpi or default_dpi(mine.model),
    }
    choice = mine.model_copy(update=fields)
    return GlimpseSettings(
        data=settings.data,
        images=settings.images,
        choice=choice,
        questions=settings.addon_questions,
        drop_blank_share=settings.drop_blank_share,
        seed=settings.seed,
    )


def make_task(settings: dict[str, Any], workers: int, device: str) -> PlusTask:
    """Make the task in a worker."""
    from pipeline.answering.page_answerer import PageAnswerer
    from pipeline.datasets.load import load_examples
    from pipeline.training.judge import Judge
    from pipeline.training.plus_task import PlusTask
    from pipeline.training.quality import metric_grader

    chosen = PlusSettings.model_validate(settings)
    choice = chosen.choice
    # Gradients pass through the language model alone, and its bias for several answers is not for flash attention.
    page_answerer = PageAnswerer.load(
        choice.model, chosen.addon, device, choice.dtype, "sdpa", chosen.seed, choice.revision
    )
    judged = None if chosen.judge is None or chosen.judge_model is None else Judge(chosen.judge, chosen.judge_model)
    return PlusTask(
        page_answerer.model,
        page_answerer.processor,
        page_images(choice),
        load_examples(chosen.data, chosen.images),
        judged or metric_grader(chosen.reward),
        steps=-(-chosen.questions // (chosen.batch * chosen.accumulate * workers)),
        accumulation_steps=chosen.accumulate,
        questions=chosen.batch,
        samples=chosen.samples,
        max_new_tokens=choice.max_new_tokens or _LONGEST,
        kl=chosen.kl,
        pruning=chosen.pruning,
        drop_blank=chosen.drop_blank_share,
        rate=chosen.rate,
        warm_up=chosen.warm_up,
        seed=chosen.seed,
        workers=workers,
    )

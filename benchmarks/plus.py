"""What GlimpsePrune+ gains: GRPO on pruned sequences, then stage 1 again, from a weakened copy of nano.

    python benchmarks/plus.py --out DIR [--seeds 0 1 2] [--steps 24] [--noise 0.3]

The copy is the embedded model with Gaussian noise on every matrix of its language model's layers, of ``--noise`` times
the standard deviation of the matrix (one draw for all seeds). Each seed of training samples answers on drawn pages, and
is measured on others, small ones (at most 560 visual tokens), blank paper hidden, at the add-on's threshold or, where
that keeps more of the training pages than it did of them before tuning, at the one that keeps as much. What is done is
kept in DIR, so the command resumes. It writes DIR/plus.json, DIR/plus.md (the table) and DIR/plus.svg (the curves).
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import torch

import glimpseprune as gp
from glimpseprune.training.grpo.export import save_tuned
from glimpseprune.training.trainer import Figures, load_checkpoint, save_checkpoint, train
from jobs.model_choice import ModelChoice
from jobs.training import glimpse as stage1
from jobs.training import plus
from pipeline.answering.checkpoints import resolve_model
from pipeline.answering.page_answerer import PageAnswerer
from pipeline.datasets.example import by_page
from pipeline.datasets.load import load_examples
from pipeline.evaluation.evaluate import Measured, measure_page
from pipeline.evaluation.modes import Mode
from pipeline.evaluation.score_table import scores
from pipeline.samples.families import FAMILIES
from pipeline.samples.write import pick_seeds, write_samples

TRAIN_SEED, TEST_SEED = 51001, 52001
DPI, ADDON = 144, "nano"
BOTH: tuple[Mode, ...] = ("off", "glimpse")
EVERY, CURVE_PAGES = 8, 12
THRESHOLD_PAGES, HIGHEST_LOGIT, LOGIT_STEP = 24, 7.0, 0.1


def weakened(folder: Path, noise: float) -> None:
    """Write the embedded model with noise on its language model."""
    source = resolve_model("nano")
    model = gp.load(source, device="cpu", dtype="float32")
    generator = torch.Generator().manual_seed(0)
    layers: Any = model.base
    with torch.no_grad():
        for weight in layers.model.language_model.layers.parameters():
            if weight.ndim > 1:
                weight.add_(noise * weight.std() * torch.randn(weight.shape, generator=generator))
    save_tuned(model, source, folder)


def choice_of(model: Path, addon: str | Path) -> ModelChoice:
    return ModelChoice(model=str(model), glimpse=str(addon), dpi=DPI, dtype="float32", device="cpu")


def measured(
    answerer: PageAnswerer,
    images: Any,
    data: Path,
    most: int,
    modes: Sequence[Mode] = BOTH,
    rule: gp.KeepRule | None = None,
) -> dict[str, Any]:
    answerer.drop_blank = True
    rows: list[Measured] = []
    for examples in islice(by_page(load_examples(data)), most):
        rows += measure_page(answerer, images.rendered(examples[0]), examples, modes, rule or answerer.model.rule, 0)
    return {
        score.mode: {
            "questions": score.questions,
            "exact": score.exact,
            "anls": score.anls,
            "retention": score.retention_mean,
        }
        for score in scores(rows)
    }


@contextmanager
def opened(model: Path, addon: str | Path) -> Iterator[tuple[PageAnswerer, Any]]:
    images = stage1.page_images(choice_of(model, addon))
    try:
        yield PageAnswerer.load(str(model), str(addon), "cpu", "float32", "sdpa", 0), images
    finally:
        images.child.close()


def measured_folder(model: Path, addon: str | Path, data: Path, most: int) -> dict[str, Any]:
    with opened(model, addon) as (answerer, images):
        return measured(answerer, images, data, most)


def at_most(wanted: float, model: Path, addon: str | Path, args: Any) -> dict[str, Any]:
    """Measure pruned, at a threshold that keeps no more than ``wanted`` of the pages it was tuned on."""
    with opened(model, addon) as (answerer, images):

        def kept(rule: gp.KeepRule) -> float:
            found = measured(answerer, images, args.out / "train", THRESHOLD_PAGES, ("glimpse",), rule)
            return float(found["glimpse"]["retention"])

        def raised(logit: float) -> gp.KeepRule:
            return replace(rule, threshold=1 / (1 + math.exp(-logit)))

        chosen = rule = answerer.model.rule
        if kept(rule) > wanted:
            low, high = rule.threshold_logit, HIGHEST_LOGIT
            while high - low > LOGIT_STEP:
                middle = (low + high) / 2
                low, high = (middle, high) if kept(raised(middle)) > wanted else (low, middle)
            chosen = raised(high)
        found = measured(answerer, images, args.out / "test", args.pages, ("glimpse",), chosen)
        return {**found, "threshold": chosen.threshold}


def tune(weak: Path, out: Path, seed: int, args: Any) -> dict[str, Any]:
    """Train with one seed; return its curves."""
    fields = {"data": str(args.out / "train"), "choice": choice_of(weak, ADDON), "samples": 8, "batch": args.batch,
              "accumulate": 1, "questions": args.batch * args.steps, "rate": args.rate, "pruning": args.pruning,
              "drop_blank_share": 1.0, "seed": seed}  # fmt: skip
    task = plus.make_task(plus.PlusSettings.model_validate(fields).model_dump(), 1, "cpu")
    first = load_checkpoint(out / "checkpoint.pt", task)
    kept = out / "curves.json"
    curves = json.loads(kept.read_text()) if first else {"train": [], "held_out": [], "seconds": 0.0}
    answerer = PageAnswerer(task.model, task.processor)
    look = partial(measured, answerer, task.images, args.out / "test", CURVE_PAGES, ("glimpse",))
    began = time.monotonic()

    def after(step: int, figures: Figures) -> bool:
        nonlocal began
        curves["train"].append({"step": step, **figures})
        if step % EVERY == 0 or step == task.steps:
            curves["seconds"] += time.monotonic() - began
            found = look()["glimpse"]
            curves["held_out"].append({"step": step, **found})
            print(seed, step, {name: round(value, 3) for name, value in figures.items()}, found, flush=True)
            save_checkpoint(out / "checkpoint.pt", task, step)
            kept.write_text(json.dumps(curves))
            began = time.monotonic()
        return False

    if not first:
        curves["held_out"].append({"step": 0, **look()["glimpse"]})
    train(task, first, after)
    task.images.child.close()
    task.module.merge()
    save_tuned(task.model, resolve_model("nano"), out / "model")
    return dict(curves)


def again(out: Path, seed: int, args: Any) -> None:
    """Train nano's add-on on the tuned model: stage 1 with the losses of the add-on's own last run."""
    fields = {"data": str(args.out / "train"), "choice": choice_of(out / "model", ADDON), "questions": args.again,
              "batch": 8, "kl": 2.0, "language": 0.0, "margin": 0.5, "retention": 2.0, "rate": 3e-4,
              "drop_blank_share": 1.0, "seed": seed}  # fmt: skip
    task = stage1.make_task(stage1.GlimpseSettings.model_validate(fields).model_dump(), 1, "cpu")
    train(task, 0, lambda step, figures: False)
    task.images.child.close()
    gp.save_addon(task.module, out / "glimpse")


def table(found: dict[str, Any]) -> str:
    lines = ["| | mode | exact | ANLS | tokens kept |", "| --- | --- | --- | --- | --- |"]

    def add(name: str, told: dict[str, Any], modes: Sequence[str] = BOTH) -> None:
        for mode in modes:
            one = told[mode]
            word = "unpruned" if mode == "off" else "pruned"
            exact, anls = (f"{one[key]:.3f}".replace("0.", ".", 1) for key in ("exact", "anls"))
            lines.append(f"| {name} | {word} | {exact} | {anls} | {one['retention']:.1%} |")

    add("nano", found["nano"])
    add("weakened", found["weakened"])
    for part, name in (("tuned", "GRPO"), ("again", "and stage 1 again")):
        for seed, one in found["seeds"].items():
            if part in one:
                add(f"{name}, seed {seed}, threshold {one[part]['threshold']:.3f}", one[part], ("glimpse",))
    questions = found["weakened"]["glimpse"]["questions"]
    return "\n".join([*lines, "", f"{questions} questions on {found['pages']} pages that no training saw."])


def plot(found: dict[str, Any], path: Path) -> None:
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams.update({"svg.hashsalt": "docpipe", "svg.fonttype": "none", "font.size": 9})
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(8.4, 3.2))
    for seed, one in ((seed, one) for seed, one in found["seeds"].items() if "curves" in one):
        steps = [row["step"] for row in one["curves"]["train"]]
        (line,) = left.plot(
            steps, [row["quality"] for row in one["curves"]["train"]], linewidth=1, label=f"seed {seed}"
        )
        points = one["curves"]["held_out"]
        across = [row["step"] for row in points]
        right.plot(across, [row["exact"] for row in points], marker="o", markersize=3, color=line.get_color())
        right.plot(across, [row["retention"] for row in points], linestyle="--", linewidth=1, color=line.get_color())
    left.set(xlabel="step", ylabel="ANLS", title="sampled answers")
    right.set(xlabel="step", ylabel="share", title="held out: right answers, and tokens kept (dashed)", ylim=(0, 1))
    for axes in (left, right):
        axes.grid(alpha=0.3)
    left.legend(frameon=False)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=24)
    parser.add_argument("--batch", type=int, default=8, help="questions per step, with 8 answers each")
    parser.add_argument("--noise", type=float, default=0.3)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--pruning", type=float, default=0.1)
    parser.add_argument("--again", type=int, default=160, help="questions of stage 1")
    parser.add_argument("--pages", type=int, default=60, help="held out, to measure on")
    args = parser.parse_args()
    done = args.out / "plus.json"
    family = replace(FAMILIES["known"], min_fields=5, max_fields=8, max_cells=560)
    for name, seed, count in (("train", TRAIN_SEED, 120), ("test", TEST_SEED, args.pages)):
        if not (args.out / name).exists():
            write_samples(args.out / name, pick_seeds(seed, count), family)
    found = json.loads(done.read_text()) if done.is_file() else {"pages": args.pages, "seeds": {}}
    weak, test = args.out / "weakened", args.out / "test"
    if "weakened" not in found:
        weakened(weak, args.noise)
        found["nano"] = measured_folder(resolve_model("nano"), ADDON, test, args.pages)
        found["weakened"] = measured_folder(weak, ADDON, test, args.pages)
        kept = measured_folder(weak, ADDON, args.out / "train", THRESHOLD_PAGES)
        found["kept_of_training"] = kept["glimpse"]["retention"]
        done.write_text(json.dumps(found, indent=1))
        print(table(found), flush=True)
    for part in ("tuned", "again"):
        for seed in args.seeds:
            out, one = args.out / f"seed-{seed}", found["seeds"].setdefault(str(seed), {})
            if part in one:
                continue
            if part == "tuned":
                one["curves"] = tune(weak, out, seed, args)
            else:
                again(out, seed, args)
            addon = ADDON if part == "tuned" else out / "glimpse"
            one[part] = at_most(found["kept_of_training"], out / "model", addon, args)
            done.write_text(json.dumps(found, indent=1))
            print(table(found), flush=True)
    (args.out / "plus.md").write_text(table(found) + "\n")
    plot(found, args.out / "plus.svg")
    print(table(found))


if __name__ == "__main__":
    main()

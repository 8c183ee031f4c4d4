"""Defines the commands that need no documents: samples, demo, doctor and the check of a questions file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from jobs.cli.options import (
    Attn,
    Device,
    Dpi,
    DropBlank,
    Dtype,
    Glimpse,
    LookAgain,
    MaxRatio,
    MaxVisualTokens,
    MinTokens,
    Model,
    Prune,
    RepetitionPenalty,
    Revision,
    Threshold,
    example,
    option,
)
from jobs.exit_codes import ENGINE
from pipeline.errors import UsageError

DOCUMENTS, MACHINE, REAL_PAGES = "Documents", "Machine", "Pieces of real pages"
REAL_TEXT = "real-text"
questions_app = typer.Typer(help="Work on questions files.", no_args_is_help=True)


@questions_app.command("check", epilog=example("questions check q.yaml"))
def questions_check(
    file: Annotated[str | None, typer.Argument(help="YAML file.", show_default=False)] = None,
    schema: Annotated[
        str | None,
        typer.Option("--schema", help="JSON Schema, or pydantic model as module:Model.", show_default="no schema"),
    ] = None,
) -> None:
    """Check a questions file, or show the questions that a schema makes."""
    from jobs.progress import counted
    from jobs.settings import load_asked
    from pipeline.file_names import printable

    if (file is None) == (schema is None):
        raise UsageError("expected a questions file or --schema, one of them")
    found = load_asked(file, schema).questions
    typer.echo(f"{file or schema}: {counted(len(found), 'question')}: {', '.join(q.id for q in found)}")
    for question in found if schema is not None else ():
        typer.echo(f"  {question.id} ({question.type}): {printable(question.text)}")


def doctor(
    device: Device = None,
    tune: Annotated[
        bool, option(MACHINE, "Measure how this machine answers fastest with --model, for later runs.")
    ] = False,
    model: Model = None,
    glimpse: Glimpse = None,
    revision: Revision = None,
    dtype: Dtype = None,
    attn: Attn = None,
) -> None:
    """Check this machine: versions, GPU, memory, and whether the stack computes the right numbers."""
    from jobs.commands.doctor import examine
    from jobs.model_choice import ModelChoice
    from jobs.settings import validated

    named = {"model": model, "glimpse": glimpse, "revision": revision, "dtype": dtype, "attn": attn}
    choice = validated(ModelChoice, {"device": device, **named})
    if not tune and choice.flags() != ModelChoice(device=choice.device).flags():
        raise UsageError("only --tune loads a model; add it, or leave out the flags that describe one")
    lines, healthy = examine(choice.device)
    typer.echo("\n".join(lines))
    if not healthy:
        raise typer.Exit(ENGINE)
    if tune:
        from jobs.commands.tune import tune as measure

        typer.echo(f"written to       {measure(choice, typer.echo)}")


def demo(
    out: Annotated[Path, option(DOCUMENTS, "Folder for documents and answers.")] = Path("demo"),
    model: Model = None,
    glimpse: Glimpse = None,
    revision: Revision = None,
    prune: Prune = None,
    look_again: LookAgain = None,
    drop_blank: DropBlank = None,
    threshold: Threshold = None,
    max_ratio: MaxRatio = None,
    min_tokens: MinTokens = None,
    dpi: Dpi = None,
    max_visual_tokens: MaxVisualTokens = None,
    device: Device = None,
    dtype: Dtype = None,
    attn: Attn = None,
    repetition_penalty: RepetitionPenalty = None,
    documents: Annotated[int, option(DOCUMENTS, "PDFs to draw.", min=1, max=100_000)] = 6,
    seed: Annotated[int, option(DOCUMENTS, "Seed of the documents.")] = 0,
) -> None:
    """Draw a few PDFs, run docpipe on them as a user would, and show the tables."""
    given = {name: value for name, value in locals().items() if name not in ("out", "documents", "seed")}
    from jobs.commands.demo import show_demo
    from jobs.model_choice import ModelChoice
    from jobs.settings import validated

    code = show_demo(out, validated(ModelChoice, given), documents, seed, typer.echo)
    raise typer.Exit(code)


def samples(
    out: Annotated[Path, option(DOCUMENTS, "Folder for pdfs/, questions.yaml and truth.jsonl.")],
    documents: Annotated[int, option(DOCUMENTS, "PDFs to draw.", min=1, max=100_000)] = 20,
    seed: Annotated[int, option(DOCUMENTS, "The same seed draws the same documents.")] = 0,
    family: Annotated[
        str,
        option(
            DOCUMENTS,
            "known, or kept apart from training: open, labels, looks, foreign; real-text asks about --pdfs.",
        ),
    ] = "known",
    pdfs: Annotated[
        list[Path] | None,
        option(REAL_PAGES, "PDFs with a text layer, or folders of them; repeat it for several.", default="none"),
    ] = None,
) -> None:
    """Draw sample business documents, or take pieces of real pages, with questions and their true answers."""
    from jobs.progress import counted
    from pipeline.samples.families import FAMILIES
    from pipeline.samples.real_text import find_pdfs
    from pipeline.samples.write import pick_seeds, write_real_pages, write_samples

    seeds = pick_seeds(seed, documents)
    if family == REAL_TEXT and not pdfs:
        raise UsageError(f"--family {family}: expected --pdfs, the PDFs whose lines are asked about; name them")
    if pdfs and family != REAL_TEXT:
        raise UsageError(
            f"--pdfs: expected --family {REAL_TEXT}, which alone takes them, found {family}; leave --pdfs out"
        )
    if pdfs:
        write_real_pages(out, seeds, find_pdfs(pdfs))
    elif family in FAMILIES:
        write_samples(out, seeds, FAMILIES[family])
    else:
        raise UsageError(f"--family {family}: expected one of {', '.join((*FAMILIES, REAL_TEXT))}")
    typer.echo(
        f"{counted(documents, 'document')} in {out}/pdfs, questions in {out}/questions.yaml, truth in {out}/truth.jsonl"
    )

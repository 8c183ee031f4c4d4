"""Defines the ``docpipe`` command, which turns options into settings for one function.

Heavy imports stay inside the commands.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from jobs.cli.options import (
    Attn,
    Device,
    DocumentSeconds,
    Dpi,
    DropBlank,
    Dtype,
    Glimpse,
    Input,
    Limit,
    MaxRatio,
    MaxVisualTokens,
    MinTokens,
    Model,
    OutputFolder,
    PasswordFile,
    Prune,
    Questions,
    Revision,
    Threshold,
)
from jobs.cli.submitted import logs, status, stop, submit_and_follow
from jobs.cli.train import eval_command, train_app
from jobs.exit_codes import as_exit_code

app = typer.Typer(
    name="docpipe",
    help="Answer questions about PDFs in bulk, with a vision-language model that keeps only the tokens that matter.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
questions_app = typer.Typer(help="Work on questions files.", no_args_is_help=True)
app.add_typer(questions_app, name="questions")
app.add_typer(train_app, name="train")
app.command("eval")(eval_command)

for _command in (status, logs, stop):
    app.command()(_command)

Config = Annotated[Path | None, typer.Option(help="TOML file with any of these flags.", show_default=False)]
Engine = Annotated[
    str | None,
    typer.Option(
        help="ray, local (a plain loop in this process), or auto (default): ray where there is much to do.",
        show_default=False,
    ),
]


@app.command()
def run(
    input: Input = None,
    questions: Questions = None,
    output: OutputFolder = None,
    model: Model = None,
    glimpse: Glimpse = None,
    revision: Revision = None,
    prune: Prune = None,
    drop_blank: DropBlank = None,
    threshold: Threshold = None,
    max_ratio: MaxRatio = None,
    min_tokens: MinTokens = None,
    dpi: Dpi = None,
    max_visual_tokens: MaxVisualTokens = None,
    engine: Engine = None,
    actors: Annotated[int | None, typer.Option(help="Processes that hold a model.", show_default=False)] = None,
    gpus_per_actor: Annotated[float | None, typer.Option(help="1 by default where there are GPUs.")] = None,
    address: Annotated[str | None, typer.Option(help="auto or http://head:8265: submit to a cluster.")] = None,
    detach: Annotated[bool | None, typer.Option("--detach", help="Submit, but do not follow.")] = None,
    shared_fs: Annotated[
        bool | None, typer.Option("--shared-fs", help="Local paths mean the same on every node.")
    ] = None,
    limit: Limit = None,
    max_failed_share: Annotated[
        float | None, typer.Option(help="Exit with 1 above this share of failed answers; 0.05 by default.")
    ] = None,
    deadline: Annotated[
        float | None, typer.Option(help="Most seconds per page; by default set from the median.")
    ] = None,
    document_seconds: DocumentSeconds = None,
    password_file: PasswordFile = None,
    device: Device = None,
    dtype: Dtype = None,
    attn: Attn = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the run; 0 by default.")] = None,
    config: Config = None,
    quiet: Annotated[bool | None, typer.Option("--quiet", help="Print errors only.")] = None,
) -> None:
    """Answer every question on every page it applies to, and write Parquet. The same command resumes."""
    flags = {key: value for key, value in locals().items() if key != "config"}
    with as_exit_code():
        from jobs.settings import load_settings
        from pipeline.questions.file import load_questions

        settings = load_settings(config, flags)
        asked = load_questions(settings.questions)
        if settings.address is not None:
            raise typer.Exit(submit_and_follow(settings, asked, settings.address))
        from jobs.run.job import run_job
        from jobs.run.report import closing_lines

        report = run_job(settings, asked)
        if not settings.quiet:
            typer.echo(closing_lines(report))
    raise typer.Exit(report["exit_code"])


@app.command()
def plan(
    input: Input = None,
    questions: Questions = None,
    output: OutputFolder = None,
    model: Model = None,
    glimpse: Glimpse = None,
    revision: Revision = None,
    prune: Prune = None,
    drop_blank: DropBlank = None,
    threshold: Threshold = None,
    max_ratio: MaxRatio = None,
    min_tokens: MinTokens = None,
    dpi: Dpi = None,
    max_visual_tokens: MaxVisualTokens = None,
    device: Device = None,
    dtype: Dtype = None,
    attn: Attn = None,
    limit: Limit = None,
    password_file: PasswordFile = None,
    config: Config = None,
) -> None:
    """Forecast a run without loading a model: documents, pages, units, visual tokens, memory and time."""
    flags = {key: value for key, value in locals().items() if key != "config"}
    with as_exit_code():
        from jobs.commands.forecast import forecast
        from jobs.settings import load_settings
        from pipeline.questions.file import load_questions

        settings = load_settings(config, flags)
        typer.echo(forecast(settings, load_questions(settings.questions)))


@questions_app.command("check")
def questions_check(file: Annotated[str, typer.Argument(help="YAML file.")]) -> None:
    """Check a questions file."""
    with as_exit_code():
        from pipeline.questions.file import load_questions

        found = load_questions(file)
        typer.echo(f"{file}: {len(found.questions)} questions: {', '.join(q.id for q in found.questions)}")


@app.command()
def doctor(
    device: Annotated[str, typer.Option(help="Device that computes the golden numbers: auto, cpu or cuda.")] = "auto",
) -> None:
    """Check this machine: versions, GPU, memory, and whether the stack computes the right numbers."""
    with as_exit_code():
        from jobs.commands.doctor import examine

        lines, healthy = examine(device)
        typer.echo("\n".join(lines))
        if not healthy:
            from jobs.exit_codes import ENGINE

            raise typer.Exit(ENGINE)


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for documents and answers.")] = Path("demo"),
    model: Model = None,
    glimpse: Glimpse = None,
    revision: Revision = None,
    prune: Prune = None,
    drop_blank: DropBlank = None,
    threshold: Threshold = None,
    max_ratio: MaxRatio = None,
    min_tokens: MinTokens = None,
    dpi: Dpi = None,
    max_visual_tokens: MaxVisualTokens = None,
    device: Device = None,
    dtype: Dtype = None,
    attn: Attn = None,
    documents: Annotated[int, typer.Option(help="PDFs to draw.", min=1)] = 6,
    seed: Annotated[int, typer.Option(help="Seed of the documents.")] = 0,
) -> None:
    """Draw a few PDFs, run docpipe on them as a user would, and show the tables."""
    given = {name: value for name, value in locals().items() if name not in ("out", "documents", "seed")}
    with as_exit_code():
        from jobs.commands.demo import show_demo
        from jobs.model_choice import ModelChoice
        from jobs.settings import validated

        code = show_demo(out, validated(ModelChoice, given), documents, seed, typer.echo)
    raise typer.Exit(code)


@app.command()
def samples(
    out: Annotated[Path, typer.Option(help="Folder for pdfs/, questions.yaml and truth.jsonl.")],
    documents: Annotated[int, typer.Option(help="PDFs to draw.", min=1)] = 20,
    seed: Annotated[int, typer.Option(help="The same seed draws the same documents.")] = 0,
    family: Annotated[str, typer.Option(help="known, or kept apart from training: open, labels, looks, foreign.")] = (
        "known"
    ),
) -> None:
    """Draw sample business documents, with questions and their true answers."""
    from pipeline.samples.families import FAMILIES
    from pipeline.samples.write import pick_seeds, write_samples

    if family not in FAMILIES:
        raise typer.BadParameter(f"--family has to be one of {', '.join(FAMILIES)}, found {family!r}")
    write_samples(out, pick_seeds(seed, documents), FAMILIES[family])
    typer.echo(f"{documents} documents in {out}/pdfs, questions in {out}/questions.yaml, truth in {out}/truth.jsonl")


def main() -> None:
    """Run the console script."""
    app(prog_name="docpipe", args=sys.argv[1:])

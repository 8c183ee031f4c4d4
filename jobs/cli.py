"""The ``docpipe`` command: options to settings to one function. Heavy imports stay inside the commands."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jobs.reported import reported
from jobs.train_cli import eval_command, train_app

if TYPE_CHECKING:
    from jobs.settings import RunSettings
    from pipeline.questions import QuestionSet

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

Input = Annotated[
    list[str] | None,
    typer.Option("--input", "-i", help="Folder, glob, file or URI; may be given several times.", show_default=False),
]
Questions = Annotated[str | None, typer.Option("--questions", "-q", help="YAML file.", show_default=False)]
OutputFolder = Annotated[str | None, typer.Option("--output", "-o", help="Folder or URI.", show_default=False)]
Model = Annotated[str | None, typer.Option(help="nano (default), a folder or a hub id.", show_default=False)]
Glimpse = Annotated[str | None, typer.Option(help="Add-on: folder or hub id.", show_default=False)]
Prune = Annotated[
    str | None,
    typer.Option(help="glimpse (default with an add-on), auto (where it is cheaper) or off.", show_default=False),
]
DropBlank = Annotated[bool | None, typer.Option("--drop-blank", help="Do not show blank paper to the model.")]
Threshold = Annotated[float | None, typer.Option(help="Keep where sigmoid(score) is above; add-on's own by default.")]
MaxRatio = Annotated[float | None, typer.Option(help="Keep this share of an image's tokens at most.")]
MinTokens = Annotated[int | None, typer.Option(help="Keep this many tokens of an image at least.")]
Dpi = Annotated[
    int | None, typer.Option(help="Resolution of the pages; 200 by default, 144 for nano.", show_default=False)
]
MaxVisualTokens = Annotated[int | None, typer.Option(help="Of a page; the model's own limit by default.")]
Limit = Annotated[int | None, typer.Option(help="Read this many documents at most.", show_default=False)]
Config = Annotated[Path | None, typer.Option(help="TOML file with any of these flags.", show_default=False)]
Device = Annotated[str | None, typer.Option(help="auto (default), cpu or cuda.", show_default=False)]


@app.command()
def run(
    input: Input = None,
    questions: Questions = None,
    output: OutputFolder = None,
    model: Model = None,
    glimpse: Glimpse = None,
    prune: Prune = None,
    drop_blank: DropBlank = None,
    threshold: Threshold = None,
    max_ratio: MaxRatio = None,
    min_tokens: MinTokens = None,
    dpi: Dpi = None,
    max_visual_tokens: MaxVisualTokens = None,
    actors: Annotated[int | None, typer.Option(help="Processes that hold a model.", show_default=False)] = None,
    gpus_per_actor: Annotated[float | None, typer.Option(help="1 by default where there are GPUs.")] = None,
    address: Annotated[str | None, typer.Option(help="auto or http://head:8265: submit to a cluster.")] = None,
    detach: Annotated[bool | None, typer.Option("--detach", help="Submit and do not follow.")] = None,
    shared_fs: Annotated[bool | None, typer.Option("--shared-fs", help="Local paths mean the same there.")] = None,
    limit: Limit = None,
    max_failed_share: Annotated[float | None, typer.Option(help="Exit with 1 above it; 0.05 by default.")] = None,
    deadline: Annotated[float | None, typer.Option(help="Seconds a page may take; from the median by default.")] = None,
    device: Device = None,
    dtype: Annotated[str | None, typer.Option(help="auto (default), float32, bfloat16 or float16.")] = None,
    attn: Annotated[str | None, typer.Option(help="auto (default), sdpa or flash_attention_2.")] = None,
    seed: Annotated[int | None, typer.Option(help="0 by default.")] = None,
    config: Config = None,
    quiet: Annotated[bool | None, typer.Option("--quiet", help="Say nothing but errors.")] = None,
) -> None:
    """Answer every question on every page it applies to, and write Parquet. The same command resumes."""
    flags = {key: value for key, value in locals().items() if key != "config"}
    with reported():
        from jobs.settings import load_settings
        from pipeline.questions import load_questions

        settings = load_settings(config, flags)
        asked = load_questions(settings.questions)
        if settings.address is not None:
            raise typer.Exit(_submit(settings, asked, settings.address))
        from jobs.run import run_job
        from jobs.summary import summary

        report = run_job(settings, asked)
        if not settings.quiet:
            typer.echo(summary(report))
    raise typer.Exit(report["exit_code"])


def _submit(settings: RunSettings, questions: QuestionSet, address: str) -> int:
    """Submit a run and, unless told otherwise, follow it; Ctrl-C leaves it running."""
    from jobs.exit_codes import DONE
    from jobs.submit import submit

    job = submit(settings, questions, address)
    if settings.detach:
        typer.echo(job)
        return DONE
    return _follow(job, address)


def _follow(job: str, address: str) -> int:
    from jobs.exit_codes import INTERRUPTED
    from jobs.submit import follow

    typer.echo(f"following {job}; Ctrl-C leaves it running", err=True)
    try:
        return follow(job, address, partial(typer.echo, nl=False))
    except KeyboardInterrupt:
        typer.echo(f"\nleft running; docpipe status|logs|stop {job} --address {address}", err=True)
        return INTERRUPTED


@app.command()
def plan(
    input: Input = None,
    questions: Questions = None,
    output: OutputFolder = None,
    model: Model = None,
    glimpse: Glimpse = None,
    prune: Prune = None,
    drop_blank: DropBlank = None,
    threshold: Threshold = None,
    max_ratio: MaxRatio = None,
    min_tokens: MinTokens = None,
    dpi: Dpi = None,
    max_visual_tokens: MaxVisualTokens = None,
    limit: Limit = None,
    config: Config = None,
) -> None:
    """Say what a run would do: documents, pages, units, visual tokens, memory, time. No model is loaded."""
    flags = {key: value for key, value in locals().items() if key != "config"}
    with reported():
        from jobs.plan_command import plan_report
        from jobs.settings import load_settings
        from pipeline.questions import load_questions

        settings = load_settings(config, flags)
        typer.echo(plan_report(settings, load_questions(settings.questions)))


@questions_app.command("check")
def questions_check(file: Annotated[str, typer.Argument(help="YAML file.")]) -> None:
    """Check a questions file."""
    with reported():
        from pipeline.questions import load_questions

        found = load_questions(file)
        typer.echo(f"{file}: {len(found.questions)} questions: {', '.join(q.id for q in found.questions)}")


@app.command()
def doctor(
    device: Annotated[str, typer.Option(help="Where to check the numbers: auto, cpu or cuda.")] = "auto",
) -> None:
    """Look at this machine: versions, GPU, memory, and whether the stack computes what it has to."""
    with reported():
        from jobs.doctor import examine

        lines, healthy = examine(device)
        typer.echo("\n".join(lines))
        if not healthy:
            from jobs.exit_codes import ENGINE

            raise typer.Exit(ENGINE)


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for documents and answers.")] = Path("demo"),
    model: Annotated[str, typer.Option(help="nano, a folder or a hub id.")] = "nano",
    glimpse: Glimpse = None,
    documents: Annotated[int, typer.Option(help="PDFs to draw.", min=1)] = 6,
    seed: Annotated[int, typer.Option(help="Of the documents.")] = 0,
) -> None:
    """Draw a few PDFs, run docpipe on them as a user would, and show the tables."""
    with reported():
        from jobs.demo import show_demo

        code = show_demo(out, model, glimpse, documents, seed, typer.echo)
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
    """Draw business documents to try things on, with questions and their true answers."""
    from pipeline.samples.families import FAMILIES
    from pipeline.samples.write import pick_seeds, write_samples

    if family not in FAMILIES:
        raise typer.BadParameter(f"--family has to be one of {', '.join(FAMILIES)}, found {family!r}")
    write_samples(out, pick_seeds(seed, documents), FAMILIES[family])
    typer.echo(f"{documents} documents in {out}/pdfs, questions in {out}/questions.yaml, truth in {out}/truth.jsonl")


@app.command()
def status(
    job: Annotated[str, typer.Argument(help="What `docpipe run --detach` printed.")],
    address: Annotated[str, typer.Option(help="http://head:8265, or auto.")] = "auto",
) -> None:
    """Say how a submitted run stands."""
    with reported():
        from jobs.submit import job_status

        typer.echo(job_status(job, address))


@app.command()
def logs(
    job: Annotated[str, typer.Argument(help="What `docpipe run --detach` printed.")],
    address: Annotated[str, typer.Option(help="http://head:8265, or auto.")] = "auto",
) -> None:
    """Follow the log of a submitted run; ends with its exit code."""
    with reported():
        code = _follow(job, address)
    raise typer.Exit(code)


@app.command()
def stop(
    job: Annotated[str, typer.Argument(help="What `docpipe run --detach` printed.")],
    address: Annotated[str, typer.Option(help="http://head:8265, or auto.")] = "auto",
) -> None:
    """Stop a submitted run; what is committed stays, and the same run resumes."""
    with reported():
        from jobs.submit import stop_job

        typer.echo(stop_job(job, address))


def main() -> None:
    """Entry point of the console script."""
    app(prog_name="docpipe", args=sys.argv[1:])

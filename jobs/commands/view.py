"""Does the work of ``docpipe show``, ``annotate`` and ``report``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jobs.progress import Progress, counted
from pipeline.errors import UsageError
from pipeline.output.faults import check_new_file, whole_file
from pipeline.output.folder import Folder
from pipeline.pages.passwords import read_passwords

_MOST_CROPS = 200
_MOST_ROWS = 500_000  # of answers in memory
_REPORT = "report.html"
_MOST_NAME = 60
_MOST_NAMED = 10  # documents without a picture; the report has more of them


@dataclass(frozen=True, slots=True)
class Viewed:
    """The run that is looked at, and where its documents are.

    Attributes:
        out: output folder of the run.
        moved_to: where the documents are now; empty for where the run found them.
        password_file: file that says where passwords lie.
        quiet: whether to show no progress.
    """

    out: str
    moved_to: Sequence[str] = ()
    password_file: str | None = None
    quiet: bool = False


def show_answer(viewed: Viewed, document: str, question: str, page: int | None, to: Path | None) -> list[str]:
    """Write the picture of one answer.

    Args:
        viewed: the run.
        document: path below the input, name, or ``document_id``.
        question: id of the question.
        page: page number, counted from 1; ``None`` for the one with the best answer.
        to: PNG file to write; ``None`` names it after document, question and page.

    Returns:
        The answer, and where the picture is.

    Raises:
        UsageError: nothing fits, the document is not there any more, or the file cannot be written.
        EngineError: the renderer cannot be started.
    """
    from pipeline.file_names import local_path, printable
    from pipeline.pages.renderer import RenderChild
    from pipeline.viewing.originals import Originals
    from pipeline.viewing.picked import find_document, pick_row
    from pipeline.viewing.published import read_published
    from pipeline.viewing.show import draw_row
    from pipeline.viewing.texts import about, model_said, shown

    folder = Folder(viewed.out)
    run = read_published(folder, document_id=find_document(folder, document))
    row = pick_row(run, document, question, page)
    target = to or Path(_file_name(row["document"], question, row["page"]))
    if target.suffix.lower() != ".png":
        raise UsageError(f"--to {target}: expected a name that ends in .png")
    check_new_file(target)
    with RenderChild(passwords=read_passwords(viewed.password_file)) as child:
        originals = Originals(child, viewed.moved_to)
        picture = draw_row(row, run.questions.get(question, question), originals, child)
        original = local_path(originals.find(row).uri)
    if original is not None and target.exists() and target.samefile(original):
        raise UsageError(f"--to {target} is the document itself; choose another name")
    with whole_file(target) as file:
        picture.save(file, "PNG")
    answer = shown(row["answer"] or "no answer", 500)
    lines = [f"{printable(answer)} ({', '.join(about(row)[1:])})"]
    lines += [printable(shown(model_said(row), 500))] if row["reviewed"] else []
    return [*lines, f"written to {target}"]


def _file_name(document: str, question: str, page: int | None) -> str:
    stem = Path(document).name.rpartition(".")[0] or document
    words = (re.sub(r"[^\w.-]+", "_", word)[:_MOST_NAME].lstrip(".-") for word in (stem, question))
    return "-".join([*filter(None, words), f"p{page}"]) + ".png"


def annotate_run(viewed: Viewed, to: Path) -> tuple[list[str], list[str]]:
    """Write annotated copies of the documents of a run.

    Args:
        viewed: the run.
        to: new or empty folder for the copies.

    Returns:
        Lines that say what was written, and a line for each document without a copy.

    Raises:
        UsageError: the folder holds something or cannot be written, or no document is there any more.
        EngineError: the renderer cannot be started.
    """
    from pipeline.pages.renderer import RenderChild
    from pipeline.viewing.annotate import annotate_documents, closing_words, documents_to_annotate
    from pipeline.viewing.copies import folder_for_copies
    from pipeline.viewing.originals import Originals
    from pipeline.viewing.published import read_published

    run = read_published(Folder(viewed.out))
    documents = documents_to_annotate(run)
    with folder_for_copies(run, to) as copies:
        with (
            RenderChild(passwords=read_passwords(viewed.password_file)) as child,
            Progress(len(documents), "document", viewed.quiet) as progress,
        ):
            originals = Originals(child, viewed.moved_to)
            result = annotate_documents(documents.values(), run.questions, copies, originals, child, progress.add)
        return closing_words(result, to), [f"no copy: {reason}" for reason in result.missing.values()]


def write_report(
    viewed: Viewed,
    to: Path | None,
    compare: str | None = None,
    price_per_hour: float | None = None,
    crops: int | None = None,
) -> list[str]:
    """Write the report of a run.

    Args:
        viewed: the run.
        to: HTML file to write; ``None`` for one in the output folder.
        compare: an older output folder; ``None`` for none.
        price_per_hour: price of the machines; ``None`` if it is not known.
        crops: largest number of pictures; ``None`` for the usual one.

    Returns:
        Lines that say what was written.

    Raises:
        UsageError: a folder is not one of docpipe, or the file cannot be written.
        EngineError: the renderer cannot be started.
    """
    from pipeline.pages.apart import check_no_document
    from pipeline.pages.renderer import RenderChild
    from pipeline.viewing.originals import Originals
    from pipeline.viewing.published import read_published, share_within
    from pipeline.viewing.report.page import make_report

    if to is not None:
        check_new_file(to)
        check_no_document(str(to))
    folder = Folder(viewed.out)
    others = [] if compare is None else [Folder(compare)]
    share = share_within([folder, *others], _MOST_ROWS)
    run = read_published(folder, share)
    most = _MOST_CROPS if crops is None else crops
    older = next((read_published(other, share) for other in others), None)
    with (
        RenderChild(passwords=read_passwords(viewed.password_file)) as child,
        Progress(min(most, len(run.answers)), "picture", viewed.quiet) as progress,
    ):
        made = make_report(run, older, Originals(child, viewed.moved_to), child, most, price_per_hour, progress.add)
    data = made.html.encode()
    if to is None:
        folder.write(_REPORT, data)
        where = f"{folder.uri.rstrip('/')}/{_REPORT}"
    else:
        with whole_file(to) as file:
            file.write_bytes(data)
        where = str(to)
    lines = [f"report: {where} ({counted(len(run.answers), 'answer')}, {len(made.crops.pictures)} with their place)"]
    if share < 1:
        lines.append(f"a sample: the answers of {share:.1%} of the documents, as there are more than {_MOST_ROWS:,}")
    missing = list(made.crops.missing.values())
    if missing:
        left = [f"and {len(missing) - _MOST_NAMED} more"] if len(missing) > _MOST_NAMED else []
        lines += [f"no picture of {counted(len(missing), 'document')}:"]
        lines += [f"  {line}" for line in (*missing[:_MOST_NAMED], *left)]
    return lines

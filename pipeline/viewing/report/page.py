"""Puts the report together: one HTML file that needs no network and no other file."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.resources import files
from typing import Any

import jinja2
import pyarrow.compute as pc
from markupsafe import Markup

from pipeline.file_names import printable
from pipeline.pages.renderer import RenderChild
from pipeline.viewing.originals import Originals
from pipeline.viewing.published import Published
from pipeline.viewing.report.calibration import calibration, labelled
from pipeline.viewing.report.compare import Changes, compare
from pipeline.viewing.report.crops import Crops, make_crops
from pipeline.viewing.report.figures import (
    cost,
    failure_sums,
    memory_column,
    question_sums,
    slow_documents,
    status_counts,
)
from pipeline.viewing.report.histogram import Histogram, duration, histogram, percent, size
from pipeline.viewing.report.order import review_first
from pipeline.viewing.report.table import MOST_ROWS, table_data
from pipeline.viewing.texts import STATUS_WORDS

_HERE = files("pipeline.viewing.report")
_ORDER = ("needs_review", "failed", "answered", "not_answerable", "skipped", "pending")
"""Statuses in the order in which a person looks at them."""


@dataclass(frozen=True, slots=True)
class Report:
    """A report that is ready to be written.

    Attributes:
        html: the whole file.
        crops: the pictures in it.
    """

    html: str
    crops: Crops


def make_report(
    run: Published,
    older: Published | None,
    originals: Originals,
    child: RenderChild,
    most_crops: int,
    price_per_hour: float | None,
    done: Callable[[], None],
) -> Report:
    """Make the report of a run.

    Args:
        run: what the run published.
        older: an older run to compare with; ``None`` for none.
        originals: finder of the documents.
        child: render child that draws the pages.
        most_crops: largest number of pictures.
        price_per_hour: price of the machines for an hour, in any currency; ``None`` leaves it to the reader.
        done: function called after each picture, or each row that gets none.

    Raises:
        EngineError: the child cannot be started.
    """
    answers = review_first(run.answers)
    changes = None if older is None else compare(answers, older.answers)
    in_table = answers.slice(0, MOST_ROWS)
    crops = make_crops(in_table, most_crops, originals, child, done)
    data = {**table_data(run, in_table, changes), "crops": crops.pictures, "folder": printable(run.uri)}
    context = {
        **_summary(run, answers, older, changes, crops),
        "charts": [chart for chart in _charts(run) if chart is not None],
        "calibration": calibration(*labelled(run)),
        "cost": cost(run),
        "price": price_per_hour,
        "rows_in_table": len(in_table),
    }
    return Report(render(context, data), crops)


def render(context: dict[str, Any], data: dict[str, Any]) -> str:
    """Fill the template; scripts and styles are allowed by their hashes, and nothing else is.

    Args:
        context: variables of the template, which are text in it.
        data: data of the table.
    """
    scripts = [_asset("tabulator/tabulator.min.js").partition("//# sourceMappingURL")[0], _asset("report.js")]
    styles = [_asset("tabulator/tabulator_simple.min.css").partition("/*# sourceMappingURL")[0], _asset("report.css")]
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_asset),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": percent, "duration": duration, "thousands": "{:,}".format}
    policy = (
        f"default-src 'none'; script-src {_hashes(scripts)}; style-src {_hashes(styles)}; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    return environment.get_template("report.html.jinja").render(
        **context,
        policy=policy,
        scripts=[Markup(script) for script in scripts],
        styles=[Markup(style) for style in styles],
        data=_as_script_data(data),
        status_words=STATUS_WORDS,
    )


def _summary(
    run: Published, answers: Any, older: Published | None, changes: Changes | None, crops: Crops
) -> dict[str, Any]:
    counts = status_counts(run)
    kinds = {} if changes is None else {kind: changes.kinds.count(kind) for kind in ("answer", "status", "new")}
    kinds |= {} if changes is None else {"gone": len(changes.gone)}
    choice = run.run.get("settings") or {}
    return {
        "folder": printable(run.uri),
        "rows": len(answers),
        "share": run.share,
        "documents": len(answers["document_id"].unique()),
        "pages": len(run.pages),
        "by_status": counts,
        "planned": counts.total(),
        "failed_documents": pc.count_distinct(run.failures["document_id"]).as_py(),
        "questions": question_sums(run),
        "failures": failure_sums(run),
        "slow": slow_documents(run),
        "older": None if older is None else printable(older.uri),
        "changes": kinds,
        "crops": crops,
        "model": printable(str(choice.get("model") or "unknown model")),
        "finished_at": run.run.get("finished_at"),
        "run_id": run.run.get("run_id"),
        "interrupted": bool(run.run.get("interrupted")),
        "made_at": datetime.now(UTC).isoformat(timespec="minutes"),
        "order": _ORDER,
    }


def _charts(run: Published) -> list[Histogram | None]:
    peak, column = memory_column(run)
    return [
        histogram("Visual tokens kept", run.answers["retention"], percent),
        histogram("KV cache per answer, after pruning", run.answers["kv_bytes_kept"], size),
        histogram("KV cache per answer, without pruning", run.answers["kv_bytes_full"], size),
        histogram(peak, column, size),
        histogram("Confidence", run.answers["confidence"], "{:.3f}".format, 1.0),
    ]


def _asset(name: str) -> str:
    return _HERE.joinpath(name).read_text(encoding="utf-8")


def _hashes(texts: list[str]) -> str:
    digests = (hashlib.sha256(text.encode()).digest() for text in texts)
    return " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)


def _as_script_data(data: dict[str, Any]) -> Markup:
    """Write JSON that may stand inside of a script element: without a "<", nothing in it ends that element."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return Markup(text.replace("<", "\\u003c"))

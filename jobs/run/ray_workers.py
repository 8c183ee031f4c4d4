"""Holds what runs inside Ray's processes: thin shells around objects of ``pipeline``.

Only plain data passes between the processes.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any

from jobs.run.start import collector_paused
from pipeline.confidence.presence import Presence
from pipeline.errors import OutputError
from pipeline.families.registry import register_family, registered_families
from pipeline.pages.bundle_pages import render_bundle
from pipeline.pages.limits import RenderLimits
from pipeline.pages.passwords import Passwords
from pipeline.pages.renderer import RenderChild
from pipeline.records import AnswerSettings, Failure, PageFailure, PageImage, Receipt, RenderedBundle
from pipeline.units import bundle_from_json, bundle_to_json
from pipeline.words import Words

if TYPE_CHECKING:
    import pyarrow as pa

    from pipeline.answering.bundle_answerer import BundleAnswerer

EXIT_DEVICE = 87
_META = [field.name for field in fields(PageImage) if field.name not in ("data", "words")]
_child: RenderChild | None = None


@dataclass(frozen=True, slots=True)
class ActorConfig:
    """The configuration of an actor, as builtins and plain data only.

    Attributes:
        settings: settings of the answers.
        output: URI of the output folder.
        command: command that reproduces a failed row; ``{input}`` stands for the document.
        run_id: id of the run.
        device: torch device, already resolved.
        attn: attention of the vision tower, or ``auto``.
        threads: number of torch CPU threads.
        deadline_s: most seconds per page; ``None`` lets the watchdog judge by earlier pages.
        document_seconds: time to render all pages of a document, in seconds.
        passwords: passwords of encrypted documents.
        presence: presence model; ``None`` where no page is left out of a question.
        pages_at_once: most pages that the model reads for one question.
        families: module paths of the registered model families by model type, as in the driver.
        page_lines: whether receipts describe each page, for the log.
        trace: what makes spans children of the run's, from :meth:`jobs.run.tracing.Span.carrier`.
    """

    settings: AnswerSettings
    output: str
    command: str
    run_id: str
    device: str
    attn: str
    threads: int
    deadline_s: float | None
    document_seconds: float = RenderLimits().document_seconds
    passwords: Passwords = field(default_factory=Passwords)
    presence: Presence | None = None
    pages_at_once: int = 1
    families: dict[str, str] = field(default_factory=registered_families)
    page_lines: bool = False
    trace: dict[str, str] = field(default_factory=dict)


def render(batch: pa.Table, settings: AnswerSettings, limits: RenderLimits, passwords: Passwords) -> pa.Table:
    """Render the pages of one bundle in a child process that outlives the task, and say on which node."""
    import pyarrow as pa

    global _child
    if _child is None or (_child.limits, _child.passwords) != (limits, passwords):
        if _child is not None:
            _child.close()
        _child = RenderChild(limits, passwords)
    bundle = bundle_from_json(zlib.decompress(batch["bundle"][0].as_py()).decode())
    rendered = to_table(render_bundle(bundle, _child, settings))
    return rendered.append_column("node", pa.array([_node_id()]))


def _node_id() -> str:
    import ray

    return str(ray.get_runtime_context().get_node_id())


def to_table(rendered: RenderedBundle) -> pa.Table:
    """Write a rendered bundle as one row: the bundle, the metadata of its pages, and their pixels."""
    import pyarrow as pa

    meta = {
        "images": [{name: getattr(image, name) for name in _META} for image in rendered.images],
        "words": [None if image.words is None else asdict(image.words) for image in rendered.images],
        "failures": [asdict(failure) for failure in rendered.failures],
        "sha256": rendered.sha256,
    }
    return pa.table(
        {
            "bundle": pa.array([bundle_to_json(rendered.bundle)], pa.large_string()),
            "meta": pa.array([json.dumps(meta)], pa.large_string()),
            "pixels": pa.array([[image.data for image in rendered.images]], pa.large_list(pa.large_binary())),
        }
    )


def from_table(table: pa.Table) -> RenderedBundle:
    """Read back the result of :func:`to_table`."""
    meta: dict[str, Any] = json.loads(table["meta"][0].as_py())
    pixels = table["pixels"][0].values
    words = [Words.from_json(raw) for raw in meta["words"]]
    return RenderedBundle(
        bundle=bundle_from_json(table["bundle"][0].as_py()),
        images=tuple(
            PageImage(**image, data=pixels[i].as_py(), words=words[i]) for i, image in enumerate(meta["images"])
        ),
        failures=tuple(PageFailure(**{**f, "failure": Failure(**f["failure"])}) for f in meta["failures"]),
        sha256=meta["sha256"],
    )


def receipt_table(receipt: Receipt | OutputError) -> pa.Table:
    """Write a receipt, or why the output cannot be written, as one row."""
    import pyarrow as pa

    refused = str(receipt) if isinstance(receipt, OutputError) else ""
    told = "" if isinstance(receipt, OutputError) else json.dumps(asdict(receipt))
    return pa.table({"receipt": [told], "refused": [refused]})


def read_receipt(row: Mapping[str, str]) -> Receipt:
    """Read back the row of :func:`receipt_table`.

    Args:
        row: values by column.

    Raises:
        OutputError: the row tells that the output cannot be written.
    """
    if row["refused"]:
        raise OutputError(row["refused"])
    told = json.loads(row["receipt"])
    return Receipt(**{**told, "lines": tuple(told["lines"])})


def load_answerer(config: ActorConfig) -> BundleAnswerer:
    """Load the model and open the output folder.

    Args:
        config: configuration of the actor.

    Raises:
        ModelError: the model cannot be loaded.
    """
    for model_type, module_path in config.families.items():
        register_family(model_type, module_path)
    with collector_paused():
        return _load(config)


def _load(config: ActorConfig) -> BundleAnswerer:
    import torch

    from pipeline.answering.bundle_answerer import BundleAnswerer
    from pipeline.answering.checkpoints import pinned
    from pipeline.answering.page_answerer import PageAnswerer
    from pipeline.answering.skipping import Skipping
    from pipeline.answering.tuning import read_tuning, settle_dtype, settle_rates, tuning_file
    from pipeline.families.registry import family_at
    from pipeline.output.attempts import Markers
    from pipeline.output.folder import Folder
    from pipeline.output.store import OutputStore

    torch.set_num_threads(config.threads)  # Ray sets OMP_NUM_THREADS to the actor's Ray CPUs, which are less than one
    settings, folder = config.settings, Folder(config.output)
    store = OutputStore(folder, config.command, config.run_id)
    tuned = read_tuning(tuning_file(settings, config.device, settings.glimpse_fingerprint))
    dtype = settle_dtype(store, settings, config.device, tuned)
    page_answerer = PageAnswerer.load(
        settings.model,
        settings.glimpse,
        config.device,
        dtype,
        config.attn,
        settings.seed,
        revision=pinned(settings.model, settings.model_fingerprint),
        glimpse_revision=pinned(settings.glimpse, settings.glimpse_fingerprint),
        repetition_penalty=settings.repetition_penalty,
    )
    page_answerer.model.pack()
    largest = family_at(settings.budget.family).max_visual_tokens(settings.budget)
    lanes = page_answerer.divide(config.threads, largest * config.pages_at_once, tuned.lane_threads)
    page_answerer.drop_blank, page_answerer.fallback = settings.drop_blank, settings.fallback
    page_answerer.look_again = settings.look_again
    if config.presence is not None and settings.skip_below is not None:
        page_answerer.skipping = Skipping(config.presence, settings.skip_below)
    if settings.prune_auto:
        torch.set_num_threads(config.threads // lanes)  # as many as a lane has
        page_answerer.rates = settle_rates(store, page_answerer.model, tuned)
    return BundleAnswerer(page_answerer, store, Markers(folder))


class AnswerActor:
    """Answers bundles and commits them, and returns one receipt per bundle.

    Args:
        config: configuration of the actor.
        load: function that makes the bundle answerer.
    """

    def __init__(self, config: ActorConfig, load: Callable[[ActorConfig], BundleAnswerer]) -> None:
        from jobs.run.metrics import Meter
        from jobs.run.observed import Observed
        from jobs.run.tracing import tracing_from_environment
        from jobs.run.watchdog import Watchdog

        self.tracing = tracing_from_environment()
        answerer = load(config)
        self.node = _node_id()
        self.observed = Observed(answerer, config.run_id, self.tracing, config.trace, config.page_lines, Meter())
        self.watchdog = Watchdog(answerer, config.deadline_s)

    def __call__(self, batch: pa.Table) -> pa.Table:
        """Answer and commit one bundle; an output that cannot be written is told in place of a receipt."""
        import torch

        try:
            here = batch["node"][0].as_py() == self.node
            return receipt_table(self.observed.run(from_table(batch), here))
        except OutputError as error:  # raised here, it would cost this bundle, and not end the run
            return receipt_table(error)
        except torch.AcceleratorError:
            os._exit(EXIT_DEVICE)  # a device that failed once keeps failing; the marker limits the attempts

    def __del__(self) -> None:
        """Send the last spans; Ray Data lets go of an actor's object when the actor has no more work."""
        if hasattr(self, "tracing"):  # the model may not have loaded
            self.tracing.close()

"""What runs inside Ray's processes: thin shells around objects of ``pipeline``. Only plain data crosses the border."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from pipeline.folder import Folder
from pipeline.markers import Markers
from pipeline.plan import bundle_from_json, bundle_to_json
from pipeline.records import AnswerSettings, Failure, PageFailure, PageImage, RenderedBundle
from pipeline.render import RenderChild, RenderLimits, render_bundle
from pipeline.store import OutputStore

if TYPE_CHECKING:
    import pyarrow as pa

EXIT_DEVICE = 87
_child: RenderChild | None = None


@dataclass(frozen=True, slots=True)
class ActorConfig:
    """What an actor needs to know; builtins only."""

    settings: AnswerSettings
    output: str
    command: str
    device: str
    attn: str
    threads: int
    deadline_s: float | None


def render(batch: pa.Table, settings: AnswerSettings, limits: RenderLimits) -> pa.Table:
    """Render the pages of one bundle, in a child process that outlives the task."""
    global _child
    if _child is None or _child.limits != limits:
        _child = RenderChild(limits)
    return to_table(render_bundle(bundle_from_json(batch["bundle"][0].as_py()), _child, settings))


def to_table(rendered: RenderedBundle) -> pa.Table:
    """One row: the bundle, what is known of its pages, and their pixels."""
    import pyarrow as pa

    meta = {
        "images": [{k: v for k, v in _fields(image).items() if k != "data"} for image in rendered.images],
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
    """What :func:`to_table` made."""
    meta: dict[str, Any] = json.loads(table["meta"][0].as_py())
    pixels = table["pixels"][0].values
    return RenderedBundle(
        bundle=bundle_from_json(table["bundle"][0].as_py()),
        images=tuple(PageImage(**image, data=pixels[i].as_py()) for i, image in enumerate(meta["images"])),
        failures=tuple(PageFailure(**{**f, "failure": Failure(**f["failure"])}) for f in meta["failures"]),
        sha256=meta["sha256"],
    )


def _fields(image: PageImage) -> dict[str, Any]:
    return {name: getattr(image, name) for name in PageImage.__slots__}


class AnswerActor:
    """Holds a model, answers bundles and commits them; its output is one receipt a bundle."""

    def __init__(self, config: ActorConfig) -> None:
        import torch

        from jobs.watchdog import Watchdog
        from pipeline.answerer import BundleAnswerer
        from pipeline.reader import Reader

        torch.set_num_threads(config.threads)  # Ray sets OMP_NUM_THREADS to the CPUs it counts, which are less than one
        settings = config.settings
        reader = Reader.load(
            settings.model, settings.glimpse, config.device, settings.dtype, config.attn, settings.seed
        )
        folder = Folder(config.output)
        self.answerer = BundleAnswerer(reader, OutputStore(folder, config.command), Markers(folder))
        self.watchdog = Watchdog(self.answerer, config.deadline_s)

    def __call__(self, batch: pa.Table) -> pa.Table:
        """Answer and commit one bundle."""
        import pyarrow as pa
        import torch

        try:
            receipt = self.answerer.run(from_table(batch))
        except torch.AcceleratorError:
            os._exit(EXIT_DEVICE)  # a CUDA context that failed once fails for ever; the marker bounds the attempts
        return pa.Table.from_pylist([{**asdict(receipt), "counts": json.dumps(receipt.counts)}])

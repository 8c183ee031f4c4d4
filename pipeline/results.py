"""What a bundle comes to: its answers, and what its pages cost. All of it can be pickled, and none holds a tensor."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from pipeline.records import Bundle, PageAnswer, Renderer


@dataclass(frozen=True, slots=True)
class PageReport:
    """The cost of one page."""

    document_id: str
    page: int
    width_pt: float
    height_pt: float
    dpi: float
    width_px: int
    height_px: int
    visual_tokens: int
    renderer: Renderer | None = None
    warnings: str | None = None
    is_repaired: bool | None = None
    is_doubtful: bool | None = None
    blank: bool | None = None
    render_ms: float | None = None
    vision_ms: float | None = None
    prefix_ms: float | None = None
    retention_mean: float | None = None
    retention_min: float | None = None
    retention_max: float | None = None
    peak_memory_bytes: int | None = None  # device
    peak_rss_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class BundleResult:
    """The result of a bundle or of some of its pages: exactly one answer for each page of each of its units."""

    bundle: Bundle
    answers: tuple[PageAnswer, ...]
    pages: tuple[PageReport, ...]
    sha256: dict[str, str] = dataclasses.field(default_factory=dict)

"""Compares evidence with the places where the answers are printed."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.datasets.example import Region
from pipeline.records import Evidence


def points_at(evidence: Sequence[Evidence], regions: Sequence[Region]) -> bool:
    """Tell whether the middle of the best box lies in a region.

    Args:
        evidence: boxes in shares of the page, best first; without any, nothing is pointed at.
        regions: places where the answer is printed.
    """
    if not evidence:
        return False
    x, y = (evidence[0].x0 + evidence[0].x1) / 2, (evidence[0].y0 + evidence[0].y1) / 2
    return any(region.x0 <= x <= region.x1 and region.y0 <= y <= region.y1 for region in regions)


def overlap(evidence: Sequence[Evidence], regions: Sequence[Region]) -> float:
    """Compute the intersection of the best box with the region that it meets best, divided by their union, in 0..1.

    Args:
        evidence: boxes in shares of the page, best first.
        regions: places where the answer is printed, at least one.
    """
    return max(_iou(evidence[0], region) for region in regions) if evidence else 0.0


def _iou(box: Evidence, region: Region) -> float:
    across = min(box.x1, region.x1) - max(box.x0, region.x0)
    down = min(box.y1, region.y1) - max(box.y0, region.y0)
    if across <= 0 or down <= 0:
        return 0.0
    both = across * down
    return both / ((box.x1 - box.x0) * (box.y1 - box.y0) + (region.x1 - region.x0) * (region.y1 - region.y0) - both)

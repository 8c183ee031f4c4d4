"""Says where the grid of a page's visual tokens lies on the page."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Frame:
    """The rectangle that the grid of visual tokens covers, in shares of the page.

    It is the page itself unless a model pads it; then it reaches beyond 0..1.
    """

    x0: float = 0.0
    y0: float = 0.0
    x1: float = 1.0
    y1: float = 1.0

    def on_grid(self, x: float, y: float) -> tuple[float, float]:
        """Turn a place in shares of the page into one in shares of the grid."""
        return (x - self.x0) / (self.x1 - self.x0), (y - self.y0) / (self.y1 - self.y0)

    def on_page(self, x: float, y: float) -> tuple[float, float]:
        """Turn a place in shares of the grid into one in shares of the page, moved to its edge if it is outside."""
        across, down = self.x0 + x * (self.x1 - self.x0), self.y0 + y * (self.y1 - self.y0)
        return min(max(across, 0.0), 1.0), min(max(down, 0.0), 1.0)


WHOLE_PAGE = Frame()

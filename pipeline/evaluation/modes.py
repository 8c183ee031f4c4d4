"""The ways in which ``docpipe eval`` asks a question."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

Mode = Literal[
    "off",
    "glimpse",
    "random",
    "glimpse-fixed",
    "mean-attention",
    "last-token",
    "fastv",
    "pyramiddrop",
    "visionzip",
    "vscan",
    "divprune",
    "cdpruner",
    "grid",
    "ocr",
]
MODES: tuple[Mode, ...] = get_args(Mode)
USUAL_MODES: tuple[Mode, ...] = ("off", "glimpse", "random")
WITHOUT_ADDON: tuple[Mode, ...] = ("off", "ocr")
"""Modes that prune nothing; ``ocr`` reads the page without the model, and answers by a rule."""


def shares_of(mode: Mode, shares: Sequence[float]) -> tuple[float | None, ...]:
    """Return the shares of visual tokens to keep in a mode; ``None`` stands for what a rule or ``glimpse`` keeps.

    Args:
        mode: way in which pages are pruned.
        shares: shares that were asked for, in 0..1.
    """
    if mode in WITHOUT_ADDON:
        return (None,)
    return (None, *shares) if mode == "glimpse" or not shares else tuple(shares)


def label(mode: Mode, share: float | None) -> str:
    """Name a mode at a share: a cap of ``glimpse``, a number of tokens elsewhere."""
    if share is None:
        return mode
    return f"{mode} {'<=' if mode == 'glimpse' else '='}{share:.1%}"

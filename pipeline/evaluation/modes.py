"""The ways in which ``docpipe eval`` asks a question."""

from __future__ import annotations

from typing import Literal

Mode = Literal["off", "glimpse", "random"]
MODES: tuple[Mode, ...] = ("off", "glimpse", "random")

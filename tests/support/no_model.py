"""A model that does not load; without torch, whose import takes a process of Ray seconds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobs.run.ray_workers import ActorConfig
from pipeline.errors import ModelError

if TYPE_CHECKING:
    from pipeline.answering.bundle_answerer import BundleAnswerer


def load_nothing(config: ActorConfig) -> BundleAnswerer:
    raise ModelError(f"no model on {config.device}")

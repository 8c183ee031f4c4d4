"""Defines the errors that this package raises on purpose."""

from __future__ import annotations


class GlimpseError(Exception):
    """Covers every error that this package raises on purpose."""


class AddonError(GlimpseError):
    """Says that an add-on is unreadable or does not fit the base model; the message names the field."""


class InputError(GlimpseError, ValueError):
    """Says that inputs, rules or limits do not fit together or do not fit the model."""


class UnsupportedModelError(GlimpseError):
    """Says that no backbone supports the checkpoint's family or one of its settings."""


class StackError(GlimpseError):
    """Says that the installed torch and transformers compute wrong results."""


class DivergedError(GlimpseError):
    """Says that a training gradient is not finite; the step was not taken."""

"""The ways a call into glimpseprune can be refused."""

from __future__ import annotations


class GlimpseError(Exception):
    """Base of every error raised on purpose by this package."""


class AddonError(GlimpseError):
    """The glimpse add-on is unreadable or does not fit the base model; the message names the field."""


class InputError(GlimpseError, ValueError):
    """Inputs of ``generate`` that no model call can be made from; nothing was computed."""


class UnsupportedModelError(GlimpseError):
    """The checkpoint is of a family, or carries a setting, that no backbone drives."""


class StackError(GlimpseError):
    """The installed torch and transformers compute something else than they have to."""


class DivergedError(GlimpseError):
    """Training came to a gradient that is not finite; the step was not taken."""

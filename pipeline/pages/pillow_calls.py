"""What all image files share in dealing with Pillow: opening, its errors, sizes; only the render child imports this."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from PIL import Image as PilImage

from pipeline.errors import PageError, Stage
from pipeline.families.base import MAX_PAGE_PIXELS
from pipeline.records import Image

_DEFAULT_DPI = 72.0
_PLAUSIBLE_DPI = (36.0, 4800.0)

# The errors that Pillow raises for a damaged file; any other error ends the process, and the page fails with it.
PILLOW_FAILURES = (
    OSError,  # also UnidentifiedImageError
    SyntaxError,
    ValueError,
    EOFError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    struct.error,
)


@contextmanager
def page_errors(stage: Stage, error_type: str, deed: str) -> Iterator[None]:
    """Turn Pillow's errors into errors of a page.

    Args:
        stage: stage that fails.
        error_type: name of the failure.
        deed: what Pillow does, such as ``decode``.

    Raises:
        PageError: the image is damaged or too large.
    """
    try:
        yield
    except PilImage.DecompressionBombError as error:
        raise PageError(stage, "PageTooLarge", too_large(str(error))) from error
    except PILLOW_FAILURES as error:
        reason = f"Pillow cannot {deed} it ({error}); restore the file, or save it again with another program"
        raise PageError(stage, error_type, reason) from error


def open_image(path: str, kind: str) -> PilImage.Image:
    """Open an image without decoding it.

    Args:
        path: path of a local file.
        kind: Pillow's name for the kind of file.

    Raises:
        OSError: Pillow refuses the file, or one of the other ``PILLOW_FAILURES``.
        DecompressionBombError: the image is far too large.
    """
    # Pillow refuses a whole file only above twice this limit; below that, each page is checked in page_size().
    PilImage.MAX_IMAGE_PIXELS = MAX_PAGE_PIXELS
    # Opened by name, the file would be mapped, and a mapped TIFF that is shown sideways comes out garbled.
    return PilImage.open(open(path, "rb"), formats=(kind,))


def refuse_too_many_pixels(image: PilImage.Image) -> None:
    """Raise an error for an image above the limit, before anything decodes it.

    Args:
        image: image that may not be decoded yet.

    Raises:
        PageError: it has too many pixels.
    """
    pixels = image.size[0] * image.size[1]
    if pixels > MAX_PAGE_PIXELS:
        raise PageError("render", "PageTooLarge", too_large(f"it has {pixels / 1e6:,.0f} megapixels"))


def too_large(found: str) -> str:
    """Refuse an image for its size.

    Args:
        found: sentence that says how large it is.
    """
    return f"expected an image of {MAX_PAGE_PIXELS / 1e6:,.0f} megapixels at most: {found}; make it smaller"


def page_size(image: PilImage.Image, sideways: bool, dpi: int) -> tuple[float, float, int]:
    """Return width and height as shown, in points, and the dpi to render at, at most the image's own.

    The size follows from the resolution that the file states, if it is plausible; otherwise a pixel is a point.

    Args:
        image: image that may not be decoded yet.
        sideways: whether it is shown turned by 90 degrees from how ``image.size`` gives it.
        dpi: resolution that is asked for.
    """
    width, height = image.size
    stated = image.info.get("dpi", (_DEFAULT_DPI, _DEFAULT_DPI))
    across, down = (_plausible(float(value)) for value in stated)
    if sideways:
        width, height, across, down = height, width, down, across
    return width * 72.0 / across, height * 72.0 / down, min(dpi, round(max(across, down)))


def resized(image: PilImage.Image, width_px: int, height_px: int) -> Image:
    """Return the pixels of an image of mode ``L`` or ``RGB`` at a size, uint8 ``[height, width, 3]``."""
    return np.asarray(image.resize((width_px, height_px), PilImage.Resampling.BICUBIC).convert("RGB"))


def _plausible(dpi: float) -> float:
    low, high = _PLAUSIBLE_DPI
    return dpi if low <= dpi <= high else _DEFAULT_DPI

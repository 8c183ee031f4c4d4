"""Reads pages of a PNG, JPEG or TIFF with Pillow. Only the render child imports this."""

from __future__ import annotations

import struct

import numpy as np
from PIL import Image as PilImage
from PIL import ImageOps, UnidentifiedImageError

from pipeline.errors import PageError
from pipeline.families.base import MAX_PAGE_PIXELS
from pipeline.pages.drawing import Drawing
from pipeline.records import Image

IMAGE_MAGIC = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")
_FORMATS = ("PNG", "JPEG", "TIFF")
_DEFAULT_DPI = 72.0
_PLAUSIBLE_DPI = (36.0, 4800.0)
_ORIENTATION, _FIRST_SIDEWAYS = 0x0112, 5  # Exif: orientations 5 to 8 are turned by 90 degrees

# The errors that Pillow raises for a damaged file; any other error ends the process, and the page fails with it.
_FAILURES = (
    UnidentifiedImageError,
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    struct.error,
)


class ImageFile:
    """Reads an open image file: a TIFF has one page per frame, any other file has one page.

    The size in points follows from the resolution that the file states, if it is plausible; otherwise a pixel is a
    point. A page is not rendered above the file's own resolution: that would cost tokens and show no more.

    Args:
        path: path of a local file.

    Raises:
        PageError: the file cannot be opened.
    """

    is_repaired = False

    def __init__(self, path: str) -> None:
        # Pillow refuses a whole file only above twice this limit; below that, each page is checked in size().
        PilImage.MAX_IMAGE_PIXELS = MAX_PAGE_PIXELS
        try:
            # Opened by name, the file would be mapped, and a mapped TIFF that is shown sideways comes out garbled.
            self._image = PilImage.open(open(path, "rb"), formats=_FORMATS)
            # Photographs may hold previews as further frames.
            self.pages = int(getattr(self._image, "n_frames", 1)) if self._image.format == "TIFF" else 1
        except PilImage.DecompressionBombError as error:
            raise PageError("open", "PageTooLarge", str(error)) from error
        except _FAILURES as error:
            raise PageError("open", "CorruptDocument", f"Pillow cannot open it: {error}") from error

    def size(self, index: int, dpi: int) -> tuple[float, float, int]:
        """Return width and height of a page (0-based) as shown, in points, and the dpi to render it at."""
        try:
            self._image.seek(index)
            width, height = self._image.size
            if width * height > MAX_PAGE_PIXELS:  # checked first, because reading the Exif data of a PNG decodes it
                raise PageError("render", "PageTooLarge", _too_many(width * height))
            sideways = self._image.getexif().get(_ORIENTATION, 1) >= _FIRST_SIDEWAYS
            stated = self._image.info.get("dpi", (_DEFAULT_DPI, _DEFAULT_DPI))
            across, down = (_plausible(float(value)) for value in stated)
        except _FAILURES as error:
            raise PageError("render", "CorruptPage", f"Pillow cannot read it: {error}") from error
        if sideways and self._image.format != "TIFF":  # for a TIFF, Pillow already gives the sides as shown
            width, height, across, down = height, width, down, across
        return width * 72.0 / across, height * 72.0 / down, min(dpi, round(max(across, down)))

    def draw(self, index: int, width_px: int, height_px: int) -> Drawing:
        """Draw a page (0-based) at the given size."""
        return Drawing(self.render(index, width_px, height_px), "pillow")

    def render(self, index: int, width_px: int, height_px: int) -> Image:
        """Decode a page and resize it, uint8 ``[height, width, 3]``; transparent parts become white."""
        try:
            self._image.seek(index)
            upright = ImageOps.exif_transpose(self._image)
            picture = _eight_bit(upright if upright is not None else self._image)
        except PilImage.DecompressionBombError as error:
            raise PageError("render", "PageTooLarge", str(error)) from error
        except _FAILURES as error:
            raise PageError("render", "CorruptPage", f"Pillow cannot decode it: {error}") from error
        resized = picture.resize((width_px, height_px), PilImage.Resampling.BICUBIC)
        return np.asarray(resized.convert("RGB"))


def _too_many(pixels: int) -> str:
    return f"the image has {pixels / 1e6:,.0f} megapixels, the limit is {MAX_PAGE_PIXELS / 1e6:,.0f}"


def _plausible(dpi: float) -> float:
    low, high = _PLAUSIBLE_DPI
    return dpi if low <= dpi <= high else _DEFAULT_DPI


def _eight_bit(image: PilImage.Image) -> PilImage.Image:
    """Convert an image to mode ``L`` or ``RGB``."""
    if image.mode.startswith("I;16"):  # Pillow's own conversion would clip the values, not scale them
        return PilImage.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode in {"I", "F"}:
        raise PageError(
            "render", "UnsupportedPage", f"its pixels are of mode {image.mode}; expected 8 or 16 bits per channel"
        )
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        page = PilImage.new("RGBA", layer.size, "white")
        page.alpha_composite(layer)
        return page.convert("RGB")
    return image.convert("L" if image.mode in {"1", "L"} else "RGB")

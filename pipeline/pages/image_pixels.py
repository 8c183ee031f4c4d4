"""Turns decoded images of any mode into 8 bits per channel on white paper; only the render child imports this."""

from __future__ import annotations

import numpy as np
from PIL import Image as PilImage

from pipeline.errors import PageError
from pipeline.pages.tiff_modes import Tags, bits_per_sample, eight_bit_palette, white_is_zero

_WIDE = "I;16"  # the beginning of the modes with 16 bits
_PNG_GREY, _PNG_RGB = 0, 2
_ALPHA_LAST = {"La": "LA", "RGBa": "RGBA"}  # modes whose colours are multiplied by alpha, and the plain ones


def eight_bit(image: PilImage.Image, tags: Tags) -> PilImage.Image:
    """Convert an image to mode ``L`` or ``RGB``; transparent parts become white.

    Args:
        image: decoded image.
        tags: tags of its frame if it is a TIFF, otherwise empty.

    Raises:
        PageError: the values of its pixels are no colours.
    """
    if image.mode.startswith(_WIDE):
        return _from_wide(image, tags)
    if image.mode in {"I", "F"}:
        raise PageError(
            "render", "UnsupportedPage", f"its pixels are of mode {image.mode}; expected 8 or 16 bits per channel"
        )
    if image.mode in {"P", "PA"} and (palette := eight_bit_palette(tags)):
        image.putpalette(palette)
    if image.mode in _ALPHA_LAST:
        image = image.convert(_ALPHA_LAST[image.mode])
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        page = PilImage.new("RGBA", layer.size, "white")
        page.alpha_composite(layer)
        return page.convert("RGB")
    return image.convert("L" if image.mode in {"1", "L"} else "RGB")


def correct_png_transparency(image: PilImage.Image, head: bytes) -> None:
    """Scale the transparent grey of a PNG with 2 or 4 bits, which Pillow compares with values of 8 bits.

    Args:
        image: PNG that is open, and not yet decoded.
        head: first bytes of the file, at least 26.

    Raises:
        PageError: the transparent colour has 16 bits per channel, of which Pillow keeps 8.
    """
    bits, colour_type = head[24], head[25]
    see_through = image.info.get("transparency")
    if colour_type == _PNG_GREY and bits in {2, 4} and isinstance(see_through, int):
        image.info["transparency"] = see_through * 255 // (2**bits - 1)
    if colour_type == _PNG_RGB and bits == 16 and see_through is not None:
        raise PageError(
            "open",
            "UnsupportedDocument",
            "a PNG of 16 bits per channel with one transparent colour is not decoded; save it with 8 bits",
        )


def _from_wide(image: PilImage.Image, tags: Tags) -> PilImage.Image:
    """Scale values of 16 bits, which Pillow's own conversion would clip."""
    values = np.asarray(image)
    grey = (values >> (min(bits_per_sample(tags), 16) - 8 if tags else 8)).astype(np.uint8)
    if tags and white_is_zero(tags):  # Pillow inverts 8 bits and less only
        grey = ~grey
    see_through = image.info.get("transparency")  # of a PNG: the one value that is transparent
    if isinstance(see_through, int):
        grey[values == see_through] = 255
    return PilImage.fromarray(grey)

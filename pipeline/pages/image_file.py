"""Reads images of one page with Pillow. Only the render child imports this."""

from __future__ import annotations

import struct
from typing import Any

from PIL import Image as PilImage

from pipeline.errors import PageError
from pipeline.pages.drawing import Drawing
from pipeline.pages.image_damage import jpeg_damage, png_damage
from pipeline.pages.image_pixels import correct_png_transparency, eight_bit
from pipeline.pages.pillow_calls import open_image, page_errors, page_size, refuse_too_many_pixels, resized

_ORIENTATION = 0x0112  # Exif
_TURNS = {
    2: PilImage.Transpose.FLIP_LEFT_RIGHT,
    3: PilImage.Transpose.ROTATE_180,
    4: PilImage.Transpose.FLIP_TOP_BOTTOM,
    5: PilImage.Transpose.TRANSPOSE,
    6: PilImage.Transpose.ROTATE_270,
    7: PilImage.Transpose.TRANSVERSE,
    8: PilImage.Transpose.ROTATE_90,
}
_DAMAGE = {"JPEG": jpeg_damage, "PNG": png_damage}
_ANIMATED = {"GIF", "PNG", "WEBP"}
_FIRST_SIDEWAYS = 5  # orientations 5 to 8 are turned by 90 degrees


class ImageFile:
    """Reads an open image that is no TIFF; it has one page.

    Photographs may hold previews as further frames, and of an animation the first frame is the page. A page is not
    rendered above the file's own resolution: that would cost tokens and show no more.

    Args:
        path: path of a local file.
        kind: Pillow's name for the kind of file, by its first bytes.

    Raises:
        PageError: the file cannot be opened, or the package for its kind is not installed.
    """

    is_repaired = False
    pages = 1

    def __init__(self, path: str, kind: str) -> None:
        self._path, self._kind = path, kind
        self._failure: PageError | None = None
        if kind == "HEIF":
            _register_heif()
        with page_errors("open", "CorruptDocument", "open"):
            self._image = open_image(path, kind)
            if kind == "PNG":
                with open(path, "rb") as file:
                    correct_png_transparency(self._image, file.read(26))

    def size(self, index: int, dpi: int) -> tuple[float, float, int]:
        """Return width and height of the page as shown, in points, and the dpi to render it at."""
        refuse_too_many_pixels(self._image)  # checked first, because reading the Exif data of a PNG decodes it
        with page_errors("render", "CorruptPage", "read"):
            return page_size(self._image, _orientation(self._image) >= _FIRST_SIDEWAYS, dpi)

    def draw(self, index: int, width_px: int, height_px: int) -> Drawing:
        """Decode the page and resize it; transparent parts become white."""
        if self._failure is not None:
            raise self._failure
        try:
            self._refuse_damage()
            with page_errors("render", "CorruptPage", "decode"):
                self._image.load()
                picture = eight_bit(self._image, {})
                turn = _TURNS.get(_orientation(self._image))
                turned = picture if turn is None else picture.transpose(turn)
                return Drawing(resized(turned, width_px, height_px), "pillow", self._unread())
        except PageError as error:
            self._failure = error  # Pillow would take what it has decoded, often nothing, for the whole page
            raise

    def _unread(self) -> tuple[str, ...]:
        """Say that further frames of an animation are not read."""
        frames = int(getattr(self._image, "n_frames", 1))
        if frames == 1 or self._kind not in _ANIMATED:
            return ()
        return (f"an animation of {frames} frames, of which the first is read; save the others as images of their own",)

    def _refuse_damage(self) -> None:
        """Refuse a picture that Pillow would show half grey, black or garbled."""
        look = _DAMAGE.get(self._kind)
        if look is None:
            return
        with open(self._path, "rb") as file:
            damage = look(file.read())
        if damage:
            raise PageError(
                "render", "CorruptPage", f"it is damaged or cut off: {damage}; restore the file, or save it again"
            )


def _register_heif() -> None:
    try:
        import pillow_heif  # large, and few need it
    except ImportError as error:
        raise PageError(
            "open",
            "UnsupportedDocument",
            "it is a HEIC picture, and the package that reads these is not installed; "
            "install docpipe with its extra 'heic', or 'pip install pillow-heif'",
        ) from error
    # Each thread reserves address space, which is limited; the decoder always starts one, and ends it with the picture.
    pillow_heif.options.DECODE_THREADS = 1
    pillow_heif.register_heif_opener(thumbnails=False)


def _orientation(image: PilImage.Image) -> int:
    """Return the orientation from 1 to 8; like viewers, take other values and damaged Exif data for 1."""
    try:
        stated: Any = image.getexif().get(_ORIENTATION)
    except (SyntaxError, ValueError, LookupError, TypeError, struct.error):
        return 1
    return stated if isinstance(stated, int) and stated in _TURNS else 1

"""Reads pages of a TIFF with Pillow. Only the render child imports this."""

from __future__ import annotations

from PIL import Image as PilImage
from PIL import TiffImagePlugin

from pipeline.errors import PageError
from pipeline.pages.drawing import Drawing
from pipeline.pages.fax_damage import fax_damage
from pipeline.pages.image_pixels import eight_bit
from pipeline.pages.pillow_calls import (
    PILLOW_FAILURES,
    open_image,
    page_errors,
    page_size,
    refuse_too_many_pixels,
    resized,
    too_large,
)
from pipeline.pages.tiff_modes import is_fax, is_whole, page_numbers, read_directories, why_unsupported

_BIG_ENDIAN_BIG_TIFF = b"MM\x00+"


class TiffFile:
    """Reads an open TIFF, one page per frame; each frame that Pillow would decode wrongly fails alone.

    Small versions of a frame and masks, which writers put between the frames, are no pages.

    Args:
        path: path of a local file.

    Raises:
        PageError: the file cannot be opened.
    """

    is_repaired = False

    def __init__(self, path: str) -> None:
        # Pillow's own reader of plain TIFFs garbles planes, white-is-zero and subsampling; libtiff does not.
        TiffImagePlugin.READ_LIBTIFF = True
        with page_errors("open", "CorruptDocument", "open"):
            with open(path, "rb") as file:
                head = file.read(len(_BIG_ENDIAN_BIG_TIFF))
            if head == _BIG_ENDIAN_BIG_TIFF:
                raise PageError("open", "UnsupportedDocument", "Pillow reads no big-endian BigTIFF; save it as TIFF")
            directories = read_directories(path)
        if not any(map(is_whole, directories)):
            raise PageError("open", "CorruptDocument", "it has no page that can be found; the file may be cut off")
        self._path = path
        self._numbers = page_numbers(directories)  # of the frames that are pages
        self._frames = [directories[number] for number in self._numbers]
        self.pages = len(self._frames)
        self._failed: dict[int, PageError] = {}
        self._image: PilImage.Image | None = None
        self._refusal = ""  # why Pillow does not open the file: its first frame is unsupported or damaged
        try:
            self._image = open_image(path, "TIFF")
        except PilImage.DecompressionBombError as error:
            raise PageError("open", "PageTooLarge", too_large(str(error))) from error
        except PILLOW_FAILURES as error:
            self._refusal = str(error)

    def size(self, index: int, dpi: int) -> tuple[float, float, int]:
        """Return width and height of a page (0-based) as shown, in points, and the dpi to render it at."""
        image = self._frame(index)
        refuse_too_many_pixels(image)
        with page_errors("render", "CorruptPage", "read"):
            return page_size(image, False, dpi)  # Pillow already gives the sides as shown

    def draw(self, index: int, width_px: int, height_px: int) -> Drawing:
        """Decode a page (0-based) and resize it; transparent parts become white."""
        image = self._frame(index)
        try:
            with page_errors("render", "CorruptPage", "decode"):
                image.load()
                picture = resized(eight_bit(image, self._frames[index]), width_px, height_px)
        except PageError as error:
            self._failed[index] = error  # Pillow would take what it has decoded, often nothing, for the whole page
            raise
        damage = fax_damage(self._path, self._numbers[index]) if is_fax(self._frames[index]) else ()
        return Drawing(picture, "pillow", damage, is_doubtful=bool(damage))

    def _frame(self, index: int) -> PilImage.Image:
        """Go to a frame, and refuse one that Pillow cannot read or reads wrongly."""
        if index in self._failed:
            raise self._failed[index]
        tags, refusal = self._frames[index], self._refusal
        if not is_whole(tags):
            raise PageError("render", "CorruptPage", "its directory of tags is damaged or cut off")
        if self._image is not None:
            try:
                self._image.seek(self._numbers[index])
            except PILLOW_FAILURES as error:
                refusal = str(error)
                self._image.seek(0)  # Pillow would otherwise take the frame for the current one
        mode = None if refusal or self._image is None else self._image.mode
        if unsupported := why_unsupported(tags, mode):
            raise PageError("render", "UnsupportedPage", unsupported)
        if refusal or self._image is None:
            raise PageError("render", "CorruptPage", f"Pillow cannot read it: {refusal}")
        return self._image

"""Tells which frames of a TIFF Pillow decodes rightly, by tags; only the render child imports this.

What is allowed here was compared with other decoders by ``benchmarks/images.py``, mode by mode.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Any

from PIL.TiffImagePlugin import ImageFileDirectory_v2

_KIND, _SMALLER, _MASK = 254, 1, 4
_FAXES = {2, 3, 4}  # compressions of CCITT
_WIDTH, _HEIGHT, _STRIPS, _TILES = 256, 257, 273, 324
_BITS, _COMPRESSION, _PHOTOMETRIC, _SAMPLES, _PLANAR = 258, 259, 262, 277, 284
_COLOUR_MAP, _EXTRA, _FORMAT = 320, 338, 339
_WHITE_IS_ZERO, _RGB = 0, 2
_SEPARATE, _UNSIGNED = 2, {1}
_ALPHA = {1, 2}
_SEPARATE_PHOTOMETRICS = {0, 1, 2, 3, 5}
# none, CCITT (three kinds), LZW, JPEG (old and new), deflate (two numbers), PackBits, LZMA, Zstandard, WebP
_COMPRESSIONS = {1, 2, 3, 4, 5, 6, 7, 8, 32773, 32946, 34925, 50000, 50001}
_NAMES = {
    _SAMPLES: "samples per pixel",
    _BITS: "bits",
    _FORMAT: "sample format",
    _EXTRA: "extra samples",
    _PHOTOMETRIC: "photometric",
    _PLANAR: "planar configuration",
    _COMPRESSION: "compression",
}

Tags = Mapping[int, Any]


def read_directories(path: str) -> list[Tags]:
    """Read the tags of every frame, also of frames that Pillow does not open.

    Directories follow each other, so that a damaged one is the last; its tags are incomplete.

    Args:
        path: path of a local TIFF.

    Raises:
        OSError: the file cannot be read.
        SyntaxError: the file is no TIFF.
        struct.error: the header is cut off.
    """
    found: list[Tags] = []
    seen: set[int] = set()
    with open(path, "rb") as file:
        header = file.read(8)
        header += file.read(8) if header[2:4] in (b"\x2b\x00", b"\x00\x2b") else b""  # BigTIFF
        start = ImageFileDirectory_v2(header).next
        while start and start not in seen:
            seen.add(start)
            tags = ImageFileDirectory_v2(header)
            found.append(tags)
            try:
                file.seek(start)
                tags.load(file)
            except (OSError, SyntaxError, ValueError, LookupError, TypeError, struct.error):
                tags.clear()
                break
            start = tags.next
    return found


def is_whole(tags: Tags) -> bool:
    """Tell whether a directory has what every image needs; one that was cut off has not."""
    return _WIDTH in tags and _HEIGHT in tags and (_STRIPS in tags or _TILES in tags)


def page_numbers(directories: Sequence[Tags]) -> list[int]:
    """List the numbers of the frames that are pages; all of them, if none says that it is one.

    Args:
        directories: tags of every frame.
    """
    found = [number for number, tags in enumerate(directories) if not _kind(tags) & (_SMALLER | _MASK)]
    return found or list(range(len(directories)))


def is_fax(tags: Tags) -> bool:
    """Tell whether a frame is compressed as faxes are."""
    return not _FAXES.isdisjoint(_values(tags, _COMPRESSION))


def _kind(tags: Tags) -> int:
    (kind, *_) = _values(tags, _KIND) or (0,)
    return kind if isinstance(kind, int) else 0


def why_unsupported(tags: Tags, mode: str | None) -> str | None:
    """Say why Pillow cannot be trusted with a frame, ``None`` where it can.

    Args:
        tags: tags of the frame.
        mode: pixel mode that Pillow gives it, ``None`` if it refuses the frame.
    """
    extra, photometric = set(_values(tags, _EXTRA)), _values(tags, _PHOTOMETRIC)
    separate = _values(tags, _PLANAR) == (_SEPARATE,) and (
        not _SEPARATE_PHOTOMETRICS.issuperset(photometric) or (_ALPHA & extra and photometric != (_RGB,))
    )
    if (
        mode not in {None, "I", "F"}
        and not separate
        and _UNSIGNED.issuperset(_values(tags, _FORMAT))
        and _COMPRESSIONS.issuperset(_values(tags, _COMPRESSION))
    ):
        return None
    named = ", ".join(f"{name} {'/'.join(map(str, _values(tags, tag)))}" for tag, name in _NAMES.items() if tag in tags)
    return f"a TIFF with such pixels is not decoded: {named}; save it as 8-bit grey or RGB"


def bits_per_sample(tags: Tags) -> int:
    """Return the bits of the first sample."""
    return int((_values(tags, _BITS) or (1,))[0])


def white_is_zero(tags: Tags) -> bool:
    """Tell whether small values are light."""
    return _values(tags, _PHOTOMETRIC) == (_WHITE_IS_ZERO,)


def eight_bit_palette(tags: Tags) -> bytes | None:
    """Return the palette (RGB, RGB, ...) of a frame whose writer stored 8 bits where 16 belong, else ``None``."""
    colours = _values(tags, _COLOUR_MAP)
    if not colours or max(colours) > 255:
        return None
    count = len(colours) // 3
    return bytes(colours[channel * count + i] for i in range(count) for channel in range(3))


def _values(tags: Tags, tag: int) -> tuple[Any, ...]:
    value = tags.get(tag, ())
    return value if isinstance(value, tuple) else (value,)

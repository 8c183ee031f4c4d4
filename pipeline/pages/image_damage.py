"""Finds damage in a JPEG or PNG that Pillow passes over; only the render child imports this."""

from __future__ import annotations

import struct
import zlib

import simplejpeg

# Parts of what libjpeg says of damage; it also warns of what harms no picture, such as an unknown version.
_JPEG_DAMAGE = ("Corrupt JPEG data", "Premature end", "Inconsistent progression", "Unsupported marker", "Bogus")
_PNG_PIXELS, _PNG_END = b"IDAT", b"IEND"


def jpeg_damage(data: bytes) -> str | None:
    """Return the decoder's complaint about a damaged or cut off JPEG, ``None`` for a whole one.

    Where the data is damaged, libjpeg goes on with grey or with garbled pixels and counts a warning, which Pillow
    does not show. Here every block is decoded again, at an eighth of the size, which takes half of Pillow's time.

    Args:
        data: the file.
    """
    try:
        simplejpeg.decode_jpeg(data, colorspace="GRAY", min_height=1, min_width=1, strict=True)
    except ValueError as error:
        return str(error) if any(part in str(error) for part in _JPEG_DAMAGE) else None
    return None


def png_damage(data: bytes) -> str | None:
    """Return what is wrong with the pixel data of a PNG, ``None`` for a whole one.

    Pillow does not compare the checksums of pixel data, and shows what could not be inflated as black.

    Args:
        data: the file.
    """
    at = 8  # after the signature
    while at + 8 <= len(data):
        length, name = struct.unpack_from(">I4s", data, at)
        if name == _PNG_END:
            return None
        body = memoryview(data)[at + 4 : at + 8 + length]
        stated = data[at + 8 + length : at + 12 + length]
        if name == _PNG_PIXELS and zlib.crc32(body).to_bytes(4, "big") != stated:
            return "a checksum of its pixel data does not match"
        at += 12 + length
    return "its last part is missing"

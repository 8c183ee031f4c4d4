"""Not a benchmark of its own: writes one picture in every mode that Pillow can write, and as PNGs of its own."""

from __future__ import annotations

import itertools
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from image_modes_tiff import HEIGHT, WIDTH, as_grey, picture
from image_reference import upright
from PIL import Image as PilImage

_SAVED = {
    "PNG": [{}, {"compress_level": 0}],
    "JPEG": [{"quality": 95, "subsampling": 0}, {"quality": 95, "subsampling": 0, "progressive": True}],
    "WEBP": [{"lossless": True}],
    "JPEG2000": [{}, {"irreversible": True, "quality_layers": [10]}, {"no_jp2": True}],
    "BMP": [{}],
    "GIF": [{}, {"interlace": 0}],
    "TIFF": [
        {"compression": name, **more}
        for name in (
            "raw",
            "group3",
            "group4",
            "tiff_ccitt",
            "tiff_lzw",
            "tiff_adobe_deflate",
            "tiff_deflate",
            "packbits",
            "lzma",
            "zstd",
            "jpeg",
            "tiff_raw_16",
            "webp",
        )
        for more in ({}, {"big_tiff": True}, {"strip_size": 1000})
    ],
}
_MODES = ("1", "L", "LA", "La", "P", "PA", "RGB", "RGBX", "RGBA", "RGBa", "CMYK", "YCbCr", "LAB", "HSV")
# Written as something else: without partial transparency, with bytes swapped, without the name of the colour space.
_CONVERTED = {("GIF", "LA"), ("GIF", "RGBA"), ("BMP", "RGBA"), ("JPEG2000", "I;16B")}
_CONVERTED |= {("JPEG2000", "YCbCr"), ("JPEG2000", "CMYK")}
_WIDE = ("I", "I;16", "I;16B", "I;16L", "I;16N", "F")


def pillow_files(folder: Path) -> Iterator[tuple[Path, np.ndarray | None]]:
    """Write file types x modes x options with Pillow."""
    for (kind, options), mode in itertools.product(_SAVED.items(), (*_MODES, *_WIDE)):
        for option in options:
            made = _in_mode(mode)
            path = (
                folder / f"pillow-{kind}-{mode.replace(';', '.')}-{'-'.join(f'{k}.{v}' for k, v in option.items())}.bin"
            )
            if made is None:
                continue
            try:
                made[0].save(path, kind, **option)
            except (OSError, ValueError, KeyError, SystemError, RuntimeError, TypeError):
                path.unlink(missing_ok=True)
                continue
            yield path, None if (kind, mode) in _CONVERTED or mode in _WIDE and kind in {"GIF", "WEBP"} else made[1]


def _in_mode(mode: str) -> tuple[PilImage.Image, np.ndarray | None] | None:
    image = picture()
    colour = PilImage.fromarray(np.rint(image * 255).astype(np.uint8))
    if mode in _WIDE:
        grey = as_grey(image)[..., 0]
        shown = np.repeat(grey[..., None], 3, axis=-1) * 255
        if mode == "F":
            return PilImage.fromarray(grey.astype(np.float32)), shown
        if mode == "I":
            return PilImage.fromarray(np.rint(grey * 65535).astype(np.int32)), shown
        order = {"I;16B": ">u2"}.get(mode, "<u2")
        return PilImage.frombytes(mode, (WIDTH, HEIGHT), np.rint(grey * 65535).astype(order).tobytes()), shown
    if mode in {"LA", "La", "PA", "RGBA", "RGBa"}:
        colour.putalpha(
            PilImage.fromarray(
                np.where(np.arange(WIDTH) < WIDTH // 3, 85, 255)[None].repeat(HEIGHT, 0).astype(np.uint8)
            )
        )
    try:
        if mode in {"La", "RGBa"}:
            made = colour.convert({"La": "LA", "RGBa": "RGBA"}[mode]).convert(mode)
        elif mode == "PA":
            made = colour.convert("P").convert("PA")
        elif mode == "LAB":
            return None
        else:
            made = colour.convert(mode)
    except ValueError:
        return None
    plain = made
    if made.mode in {"LA", "La", "PA", "RGBA", "RGBa"}:
        layer = np.asarray(made.convert("LA" if made.mode == "La" else "RGBA").convert("RGBA")).astype(float)
        shown = layer[..., :3] * layer[..., 3:] / 255 + 255 - layer[..., 3:]
    else:
        shown = np.asarray(plain.convert("RGB")).astype(float)
    return made, shown


def turned(folder: Path) -> Iterator[tuple[Path, np.ndarray | None]]:
    """Write every orientation tag, also values that none has."""
    image = picture()
    colour = PilImage.fromarray(np.rint(image * 255).astype(np.uint8))
    for kind, value in itertools.product(("TIFF", "JPEG", "PNG", "WEBP"), (*range(10), 255, 65535)):
        exif = PilImage.Exif()
        exif[0x0112] = value
        for compression in (None, "tiff_lzw") if kind == "TIFF" and 1 <= value <= 8 else (None,):
            path = folder / f"orientation-{kind}-{value}-{compression}.bin"
            options = {"JPEG": {"quality": 95, "subsampling": 0}, "WEBP": {"lossless": True}}.get(kind, {})
            options |= {"compression": compression} if compression else {}
            colour.save(path, kind, exif=exif, **options)
            yield path, upright(image, value) * 255


def own_pngs(folder: Path) -> Iterator[tuple[Path, np.ndarray | None]]:
    """Write colour types x bits x one transparent value or a palette with alpha x interlace."""
    image = picture()
    types = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
    for colour, bits, see_through in (
        (colour, bits, t) for colour, widths in types.items() for bits in widths for t in (False, True)
    ):
        if see_through and colour in (4, 6):
            continue
        top = 2**bits - 1
        one = np.rint((image if colour in (2, 6) else as_grey(image)) * top)
        light, chunks = one / top, []
        if colour == 3:
            palette = np.array([[(37 * i * (1 + c)) % 256 for c in range(3)] for i in range(top + 1)])
            chunks.append((b"PLTE", palette.astype(np.uint8).tobytes()))
            light = palette[one[..., 0].astype(int)] / 255
        light = np.broadcast_to(light, (HEIGHT, WIDTH, 3)).copy()
        if colour in (4, 6):
            alpha = np.where(np.arange(WIDTH)[None, :, None] < WIDTH // 3, top // 3, top) + np.zeros((HEIGHT, 1, 1))
            light = light * alpha / top + 1 - alpha / top
            one = np.concatenate([one, alpha], axis=-1)
        if see_through and colour == 3:
            alphas = np.array([255 if i % 2 else 51 for i in range(top + 1)])
            chunks.append((b"tRNS", alphas.astype(np.uint8).tobytes()))
            alpha = alphas[one[..., 0].astype(int)][..., None] / 255
            light = light * alpha + 1 - alpha
        elif see_through:
            hidden = one[HEIGHT // 2 + 2, WIDTH // 2 + 2]
            chunks.append((b"tRNS", b"".join(struct.pack(">H", int(v)) for v in hidden)))
            light[(one == hidden).all(axis=-1)] = 1
        path = folder / f"own-png-colour{colour}-{bits}bit-{'transparent' if see_through else 'opaque'}.png"
        path.write_bytes(_png(one.astype(np.uint16), colour, bits, chunks))
        yield path, light * 255


def _png(samples: np.ndarray, colour: int, bits: int, chunks: list[tuple[bytes, bytes]]) -> bytes:
    flat = samples.reshape(HEIGHT, -1)
    if bits >= 8:
        rows = flat.astype(">u2" if bits == 16 else np.uint8)
        lines = [b"\0" + row.tobytes() for row in rows]
    else:
        ones = (flat[..., None] >> np.arange(bits - 1, -1, -1)) & 1
        lines = [b"\0" + np.packbits(row.ravel().astype(np.uint8)).tobytes() for row in ones]
    parts = [(b"IHDR", struct.pack(">IIBBBBB", WIDTH, HEIGHT, bits, colour, 0, 0, 0)), *chunks]
    parts += [(b"IDAT", zlib.compress(b"".join(lines))), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) for name, body in parts
    )

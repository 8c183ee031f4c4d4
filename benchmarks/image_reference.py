"""Not a benchmark of its own: decodes images without Pillow and libtiff, with tifffile, MuPDF and own arithmetic."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pymupdf
import tifffile

LAB = 8  # photometric interpretation
_TO_XYZ_D50 = np.array([0.9642, 1.0, 0.8249])
_D50_TO_SRGB = np.array([[3.1339, -1.6169, -0.4906], [-0.9788, 1.9161, 0.0335], [0.0719, -0.2290, 1.4052]])


def decode(path: Path) -> tuple[str, np.ndarray] | None:
    """Return decoder and picture, grey levels ``[height, width, 3]``; None for a file that neither one reads."""
    if path.read_bytes()[:2] in (b"II", b"MM"):
        try:
            with tifffile.TiffFile(path) as tiff:
                return "tifffile", _tiff(tiff.pages[0])
        except (ValueError, NotImplementedError, KeyError, TypeError, IndexError, RuntimeError, ImportError, OSError):
            pass  # without imagecodecs, tifffile reads no LZW, JPEG or CCITT
    try:
        return "MuPDF", _mupdf(path)
    except (RuntimeError, ValueError, pymupdf.mupdf.FzErrorBase):
        return None


def rgb_from_lab(lab: np.ndarray) -> np.ndarray:
    """Return sRGB from 0 to 1 of L*a*b* under D50."""
    y = (lab[..., 0] + 16) / 116
    f = np.stack([y + lab[..., 1] / 500, y, y - lab[..., 2] / 200], axis=-1)
    xyz = np.where(f > 6 / 29, f**3, 3 * (6 / 29) ** 2 * (f - 4 / 29)) * _TO_XYZ_D50
    linear = np.clip(xyz @ _D50_TO_SRGB.T, 0, 1)
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def _tiff(page: tifffile.TiffPage) -> np.ndarray:
    samples = page.asarray(maxworkers=1, squeeze=False)  # [planes, depth, height, width, samples]
    samples = np.moveaxis(samples[:, 0], 0, -1).reshape(*samples.shape[2:4], -1)
    photometric, bits = int(page.photometric), page.bitspersample
    if samples.dtype == bool:
        samples, bits = samples.astype(np.uint8), 1
    if samples.dtype.kind != "u":
        raise ValueError("signed and floating values are no colours")
    top = 2.0**bits - 1
    colours = {2: 3, 5: 4, LAB: 3}.get(photometric, 1)
    light = samples[..., :colours] / top
    if photometric == 3:
        light = page.colormap[:, samples[..., 0].astype(int)].transpose(1, 2, 0)
        light = light / (255 if page.colormap.max() < 256 else 65535)
    elif photometric == 5:
        light = (1 - light[..., :3]) * (1 - light[..., 3:4])
    elif photometric == LAB:
        signed = samples.astype(np.int64) - (samples >= 2 ** (bits - 1)) * 2**bits
        light = rgb_from_lab(np.concatenate([light[..., :1] * 100, signed[..., 1:3] / 2 ** (bits - 8)], axis=-1))
    elif photometric == 0:
        light = 1 - light
    elif photometric not in (1, 2):
        raise ValueError(f"no arithmetic for photometric interpretation {photometric}")
    extra = [int(kind) for kind in page.extrasamples]
    if extra and extra[0] in (1, 2):
        alpha = samples[..., colours : colours + 1] / top
        light = (light if extra[0] == 1 else light * alpha) + 1 - alpha
    light = np.broadcast_to(np.clip(light, 0, 1), (*light.shape[:2], 3))
    turn = page.tags.get(274)
    return upright(light, int(turn.value) if turn else 1) * 255


def upright(image: np.ndarray, orientation: int) -> np.ndarray:
    """Return the picture as shown; orientations other than 1 to 8 change nothing."""
    if orientation in (5, 6, 7, 8):
        image = image.swapaxes(0, 1)
    down = -1 if orientation in (3, 4, 7, 8) else 1
    across = -1 if orientation in (2, 3, 6, 7) else 1
    return image[::down, ::across]


def _mupdf(path: Path) -> np.ndarray:
    data = path.read_bytes()
    stored = pymupdf.Pixmap(data)
    if stored.colorspace is not None and stored.colorspace.n == 4:  # MuPDF would use an ICC profile
        ink = np.frombuffer(stored.samples, np.uint8).reshape(stored.h, stored.w, -1) / 255
        return (1 - ink[..., :3]) * (1 - ink[..., 3:4]) * 255
    with pymupdf.open(stream=data, filetype="image") as document:
        page = document[0]
        width, height = stored.w, stored.h
        if (page.rect.width > page.rect.height) != (width > height):
            width, height = height, width
        scale = pymupdf.Matrix(width / page.rect.width, height / page.rect.height)
        shown = page.get_pixmap(matrix=scale, alpha=False, colorspace=pymupdf.csRGB)
        picture = np.frombuffer(shown.samples, np.uint8).reshape(shown.h, shown.w, 3)[:height, :width].astype(float)
    return upright(picture, _png_orientation(data))


def _png_orientation(data: bytes) -> int:
    """Return the orientation that a PNG states, which MuPDF does not look at; 1 for any other file."""
    at = data.find(b"eXIf") + 4
    if not data.startswith(b"\x89PNG") or at < 4:
        return 1
    order = "<" if data[at : at + 2] == b"II" else ">"
    start = at + struct.unpack_from(f"{order}I", data, at + 4)[0]
    for entry in range(struct.unpack_from(f"{order}H", data, start)[0]):
        tag, _, _, value = struct.unpack_from(f"{order}HHIH", data, start + 2 + 12 * entry)
        if tag == 274:
            return int(value)
    return 1

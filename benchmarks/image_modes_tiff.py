"""Not a benchmark of its own: writes one picture as a TIFF of every mode, with tifffile and with a small writer."""

from __future__ import annotations

import itertools
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tifffile
from image_reference import LAB, rgb_from_lab

HEIGHT, WIDTH = 84, 168
PLAIN, DEFLATE, PACKBITS = 1, 8, 32773


def picture() -> np.ndarray:
    """Return a picture without symmetry, float ``[height, width, 3]`` from 0 (black) to 1 (white)."""
    down, across = np.mgrid[0:HEIGHT, 0:WIDTH]
    image = np.stack([across / WIDTH, down / HEIGHT, 1 - across / WIDTH], axis=-1)
    image[: HEIGHT // 2, : WIDTH // 4] = 0
    image[HEIGHT // 2 :, WIDTH // 2 :] = (1, 0.5, 0)
    image[:, -WIDTH // 8 :] = 1
    return image


def as_grey(image: np.ndarray) -> np.ndarray:
    return image.mean(axis=-1, keepdims=True)


def own_tiffs(folder: Path) -> Iterator[tuple[Path, np.ndarray | None]]:
    """Write bits x photometric x extra samples x planar x byte order x fill order x strips x compression."""
    image = picture()
    modes = itertools.product((1, 2, 4, 6, 8, 12, 16, 24, 32), (0, 1, 2, 3, 5, LAB), ((), (0,), (1,), (2,), (2, 0)))
    storage = ((1, HEIGHT, PLAIN), (1, 20, PLAIN), (1, 20, DEFLATE), (1, HEIGHT, PACKBITS), (2, HEIGHT, PLAIN))
    for bits, photometric, extra in modes:
        if photometric == 3 and bits > 8:
            continue
        samples, shown, colours = _samples(image, bits, photometric, extra)
        for planar, order, (fill, rows, compression) in itertools.product((1, 2), "<>", storage):
            tags = {258: [bits] * samples.shape[2], 262: [photometric], 266: [fill], 284: [planar]}
            tags |= {338: list(extra)} if extra else {}
            tags |= {320: colours} if colours else {}
            name = f"own-{bits}bit-photo{photometric}-extra{'.'.join(map(str, extra)) or 'none'}-planar{planar}"
            name += f"-{'le' if order == '<' else 'be'}-fill{fill}-rows{rows}-comp{compression}.tif"
            (folder / name).write_bytes(_tiff(samples, bits, tags, order, rows, compression))
            yield folder / name, shown


def _samples(
    image: np.ndarray, bits: int, photometric: int, extra: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray, list[int]]:
    """Return the samples ``[height, width, samples]``, what they show on white paper, and a palette of 16 bits."""
    top, colours = 2**bits - 1, []
    if photometric == 3:
        colours = [(37 * i * 257 * (1 + c)) % 65536 for c in range(3) for i in range(top + 1)]
        samples = np.rint(as_grey(image) * top)
        light = np.array(colours).reshape(3, -1).T[samples[..., 0].astype(int)] / 65535
    elif photometric == 5:
        samples = np.rint(np.concatenate([1 - image, np.zeros_like(image[..., :1])], axis=-1) * top)
        light = 1 - samples[..., :3] / top
    elif photometric == LAB:
        around = np.where(np.arange(WIDTH) < WIDTH // 2, 40, -30) * 2.0 ** (bits - 8) + np.zeros((HEIGHT, 1))
        samples = np.stack([np.rint(as_grey(image)[..., 0] * top), np.floor(around), np.floor(around / 2)], axis=-1)
        light = rgb_from_lab(samples / [top / 100, 2.0 ** (bits - 8), 2.0 ** (bits - 8)])
        samples = samples % (top + 1)
    else:
        samples = np.rint((image if photometric == 2 else as_grey(image)) * top)
        light = samples / top
        samples = top - samples if photometric == 0 else samples
    light = np.broadcast_to(light, (*light.shape[:2], 3))
    if 1 in extra or 2 in extra:
        alpha = np.where(np.arange(WIDTH)[None, :, None] < WIDTH // 3, top // 3, top) + np.zeros((HEIGHT, 1, 1))
        if 1 in extra:
            samples = np.floor(samples * alpha / top)
        light = light * alpha / top + 1 - alpha / top
        samples = np.concatenate([samples, alpha], axis=-1)
    while samples.shape[2] < _channels(photometric) + len(extra):
        samples = np.concatenate([samples, np.full((HEIGHT, WIDTH, 1), top // 2)], axis=-1)
    return samples.astype(np.uint64), light * 255, colours


def _channels(photometric: int) -> int:
    return {2: 3, 5: 4, 8: 3}.get(photometric, 1)


def _tiff(samples: np.ndarray, bits: int, tags: dict[int, list[int]], order: str, rows: int, compression: int) -> bytes:
    planes = [samples] if tags[284] == [1] else [samples[..., i : i + 1] for i in range(samples.shape[2])]
    strips = [
        _packed(plane[at : at + rows], bits, order, tags[266] == [2], compression)
        for plane in planes
        for at in range(0, HEIGHT, rows)
    ]
    starts = [8 + sum(map(len, strips[:i])) for i in range(len(strips))]
    tags = tags | {256: [WIDTH], 257: [HEIGHT], 259: [compression], 277: [samples.shape[2]], 278: [rows]}
    tags |= {273: starts, 279: [len(strip) for strip in strips]}
    data = b"".join(strips) + bytes(sum(map(len, strips)) % 2)
    entries, tail, after = b"", b"", 8 + len(data) + 2 + 12 * len(tags) + 4
    for tag, values in sorted(tags.items()):
        kind, code = (4, "I") if tag in (273, 279) else (3, "H")
        packed = struct.pack(f"{order}{len(values)}{code}", *values)
        if len(packed) > 4:
            where, tail = struct.pack(f"{order}I", after + len(tail)), tail + packed
        else:
            where = packed.ljust(4, b"\0")
        entries += struct.pack(f"{order}HHI", tag, kind, len(values)) + where
    magic = b"II" if order == "<" else b"MM"
    head = magic + struct.pack(f"{order}HI", 42, 8 + len(data))
    return head + data + struct.pack(f"{order}H", len(tags)) + entries + bytes(4) + tail


def _packed(part: np.ndarray, bits: int, order: str, reverse: bool, compression: int) -> bytes:
    flat = part.reshape(part.shape[0], -1)
    if bits in (8, 16, 32):
        rows = [row.astype(f"{order}u{bits // 8}").tobytes() for row in flat]
    else:  # from the highest bit on, each row padded to a byte; 24 bits are not swapped here but below
        ones = ((flat[..., None] >> np.arange(bits - 1, -1, -1).astype(np.uint64)) & np.uint64(1)).astype(np.uint8)
        rows = [np.packbits(row.ravel()).tobytes() for row in ones]
        if bits == 24 and order == "<":
            rows = [np.frombuffer(row, np.uint8).reshape(-1, 3)[:, ::-1].tobytes() for row in rows]
    if compression == PACKBITS:
        rows = [_packbits(row) for row in rows]
    data = b"".join(rows)
    data = zlib.compress(data) if compression == DEFLATE else data
    if reverse:
        data = np.packbits(np.unpackbits(np.frombuffer(data, np.uint8)).reshape(-1, 8)[:, ::-1]).tobytes()
    return data


def _packbits(row: bytes) -> bytes:
    return b"".join(bytes([len(row[i : i + 128]) - 1]) + row[i : i + 128] for i in range(0, len(row), 128))


def tifffile_tiffs(folder: Path) -> Iterator[tuple[Path, np.ndarray | None]]:
    """Write sample types x photometric x planar x byte order x predictor x tiles with tifffile."""
    image = picture()
    kinds = ("?", "u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8")
    names = {"minisblack": 1, "miniswhite": 0, "rgb": 2, "separated": 5}
    layouts = list(
        itertools.product((None, "contig", "separate"), "<>", (None, (32, 48)), (None, "zlib", "lzma", "lzw"))
    )
    for kind, (photometric, number) in itertools.product(kinds, names.items()):
        colour = image if number == 2 else as_grey(image)
        light = colour
        if number == 5:
            colour, light = np.concatenate([1 - image, np.zeros_like(image[..., :1])], axis=-1), image
        shown = np.broadcast_to(light, (HEIGHT, WIDTH, 3)) * 255
        dtype = np.dtype(kind)
        if kind == "?":
            shown = np.broadcast_to(light > 0.5, (HEIGHT, WIDTH, 3)) * 255.0
            stored = colour > 0.5
            stored = ~stored if number == 0 else stored
        else:
            whole = dtype.kind != "f"
            stored = 1 - colour if number == 0 else colour
            low, high = (np.iinfo(dtype).min, np.iinfo(dtype).max) if whole else (0, 1)
            stored = (low + stored * (float(high) - low) * (1 - 1e-12)).astype(dtype)
        for (planar, order, tile, compression), predictor in itertools.product(layouts, (False, True)):
            one = stored[..., 0] if stored.shape[2] == 1 else stored
            if planar is not None and one.ndim == 2:
                continue
            one = np.moveaxis(one, -1, 0) if planar == "separate" else one
            name = f"tifffile-{kind.replace('?', 'bool')}-{photometric}-{planar}-{'le' if order == '<' else 'be'}"
            path = folder / f"{name}-{'tiles' if tile else 'strips'}-{compression}-{predictor}.tif"
            try:
                tifffile.imwrite(
                    path, one, photometric=photometric, planarconfig=planar, byteorder=order, tile=tile,
                    compression=compression, predictor=predictor, metadata=None, maxworkers=1,
                )  # fmt: skip
            except (ValueError, NotImplementedError, TypeError, KeyError, ImportError, RuntimeError):
                path.unlink(missing_ok=True)
                continue
            yield path, shown

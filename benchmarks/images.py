"""Whether docpipe shows images as independent decoders do, or refuses them.

    python benchmarks/images.py [DIR]

Without DIR, it writes one picture in every mode that Pillow, tifffile and two small writers can write (about 7,000
files; with imagecodecs installed, more), and compares also with the picture itself. With DIR, it does so for the first
page of every image below DIR. Two pictures differ where more than 1 % of the pixels differ by more than 20 grey levels.
The exit code is 1 if any picture that docpipe accepts differs.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from image_modes_other import own_pngs, pillow_files, turned
from image_modes_tiff import own_tiffs, tifffile_tiffs
from image_reference import decode

from pipeline.errors import PageError
from pipeline.pages.documents import SUFFIXES
from pipeline.pages.image_file import ImageFile
from pipeline.pages.image_kinds import image_kind
from pipeline.pages.tiff_file import TiffFile

LEVELS, SHARE = 20, 0.01
WRITERS = (own_tiffs, own_pngs, tifffile_tiffs, pillow_files, turned)


def docpipe(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    """Return the first page at its native size."""
    with path.open("rb") as file:
        kind = image_kind(file.read(1024))
    if kind is None:
        raise PageError("open", "UnsupportedDocument", "it is no image")
    opened = TiffFile(str(path)) if kind == "TIFF" else ImageFile(str(path), kind)
    opened.size(0, 200)
    return opened.draw(0, shape[1], shape[0]).image


def differs(one: np.ndarray, other: np.ndarray) -> bool:
    far = np.abs(one.astype(float) - other).max(axis=-1) > LEVELS
    return bool(far.mean() > SHARE)


def look(path: Path, shown: np.ndarray | None) -> tuple[str, str]:
    """Compare one file, and return what came of it and a remark."""
    reference = decode(path)
    wanted = {"the picture": shown} if shown is not None else {}
    if reference is not None:
        wanted[reference[0]] = reference[1]
    try:
        seen = docpipe(path, next(iter(wanted.values())).shape if wanted else (100, 100, 3))
    except PageError as error:
        return error.error_type, error.message
    off = [name for name, image in wanted.items() if image.shape != seen.shape or differs(seen, image)]
    if shown is not None and off and "the picture" not in off:
        return "same as written, independent decoder differs", off[0]
    if off:
        return "DIFFERS", f"from {' and '.join(off)}"
    return ("same", "") if wanted else ("accepted, no independent decoder", "")


def files(folder: Path | None, made: Path) -> Iterator[tuple[str, Path, np.ndarray | None]]:
    if folder is None:
        for write in WRITERS:
            for path, shown in write(made):
                yield write.__name__, path, shown
                path.unlink()
        return
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in SUFFIXES and path.suffix.lower() != ".pdf" and path.is_file():
            yield path.suffix.lower(), path, None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, metavar="DIR")
    folder = parser.parse_args().folder
    warnings.simplefilter("ignore")
    logging.disable()  # tifffile and Pillow report every odd tag
    counts: Counter[tuple[str, str]] = Counter()
    with tempfile.TemporaryDirectory() as made:
        for group, path, shown in files(folder, Path(made)):
            outcome, remark = look(path, shown)
            counts[group, outcome] += 1
            if outcome == "DIFFERS" or outcome.startswith("same as"):
                print(f"{outcome}: {path if folder else path.name}: {remark}", flush=True)
    for (group, outcome), count in sorted(counts.items()):
        print(f"{count:7,}  {group:15} {outcome}")
    different = sum(count for (_, outcome), count in counts.items() if outcome == "DIFFERS")
    print(f"{sum(counts.values()):7,}  files, of which docpipe accepted and showed differently: {different}")
    sys.exit(1 if different or not counts else 0)


if __name__ == "__main__":
    main()

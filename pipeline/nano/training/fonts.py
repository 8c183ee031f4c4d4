"""Fonts that the embedded model learns to read: the base fonts of PDF and font files of Debian packages.

The files are needed in training only. ``FAMILIES`` names them without their folder; ``PACKAGES`` brings all of them.
The fonts of ``pymupdf-fonts`` are kept apart for the held-out looks and must not be named here.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

FONT_FOLDER = Path("/usr/share/fonts")
PACKAGES = (
    "fonts-dejavu fonts-liberation fonts-liberation2 fonts-freefont-ttf fonts-open-sans fonts-lato "
    "fonts-roboto-unhinted fonts-crosextra-carlito fonts-crosextra-caladea fonts-urw-base35 fonts-inconsolata "
    "fonts-linuxlibertine fonts-cantarell fonts-noto-mono fonts-ebgaramond fonts-oldstandard fonts-quicksand"
)
BASE = ("helv", "hebo", "heit", "hebi", "tiro", "tibo", "tiit", "tibi", "cour", "cobo", "coit", "cobi")
COMMON = (
    "DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-Oblique", "DejaVuSansCondensed", "DejaVuSansCondensed-Bold",
    "DejaVuSansMono", "DejaVuSansMono-Bold", "DejaVuSerif", "DejaVuSerif-Bold", "LiberationSans-Regular",
    "LiberationSans-Bold", "LiberationSans-Italic", "LiberationSansNarrow-Regular", "LiberationSansNarrow-Bold",
    "LiberationSerif-Regular", "LiberationSerif-Bold", "LiberationMono-Regular", "LiberationMono-Bold",
    "Carlito-Regular", "Carlito-Bold", "Carlito-Italic", "OpenSans-Regular", "OpenSans-Semibold", "Roboto-Regular",
    "Roboto-Medium", "Roboto-Bold", "Lato-Regular", "Lato-Bold",
)  # fmt: skip
RARE = (
    "Caladea-Regular", "Caladea-Bold", "Cantarell-Regular", "Cantarell-Bold", "EBGaramond12-Regular", "FreeSans",
    "FreeSansBold", "FreeSerif", "FreeMono", "Inconsolata", "LinBiolinum_R", "LinLibertine_R", "LinLibertine_RB",
    "NimbusSansNarrow-Regular", "NotoMono-Regular", "NotoSansMono-Bold", "OldStandard-Regular", "OpenSans-CondBold",
    "P052-Roman", "P052-Bold", "C059-Roman", "Quicksand-Medium", "RobotoCondensed-Regular", "RobotoCondensed-Bold",
    "Roboto-Light", "Roboto-Italic", "URWBookman-Light", "URWBookman-Demi", "URWGothic-Book", "URWGothic-Demi",
    "Lato-Light", "Lato-Italic", "OpenSans-Italic", "DejaVuSerif-Italic", "LiberationSerif-Italic",
)  # fmt: skip


def font_name(name: str) -> str:
    """The path of a font file named in ``COMMON`` or ``RARE``; a base font is its own name.

    Args:
        name: name of the file in the folder.

    Raises:
        FileNotFoundError: the font file is not installed.
    """
    if name in BASE:
        return name
    path = _files().get(name)
    if path is None:
        raise FileNotFoundError(f"no font {name} below {FONT_FOLDER}; install the packages {PACKAGES}")
    return str(path)


def fonts_installed() -> bool:
    """Whether all font files are there."""
    return set(COMMON) | set(RARE) <= set(_files())


@cache
def _files() -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in sorted(FONT_FOLDER.rglob("*")):
        if path.suffix in (".ttf", ".otf"):
            found.setdefault(path.stem, path)
    return found

"""What training draws beyond the fixed lists."""

from __future__ import annotations

from functools import cache

from pipeline.nano.training.fonts import BASE, COMMON, RARE, font_name
from pipeline.nano.training.label_lists import draw_label
from pipeline.nano.training.word_lists import training_words
from pipeline.samples.families import BASE_FACES
from pipeline.samples.opened import Opening

_BOLD = {
    "DejaVuSans": "DejaVuSans-Bold", "DejaVuSansMono": "DejaVuSansMono-Bold", "DejaVuSerif": "DejaVuSerif-Bold",
    "DejaVuSansCondensed": "DejaVuSansCondensed-Bold", "LiberationSans-Regular": "LiberationSans-Bold",
    "LiberationSerif-Regular": "LiberationSerif-Bold", "LiberationMono-Regular": "LiberationMono-Bold",
    "LiberationSansNarrow-Regular": "LiberationSansNarrow-Bold", "Carlito-Regular": "Carlito-Bold",
    "OpenSans-Regular": "OpenSans-Semibold", "Roboto-Regular": "Roboto-Bold", "Lato-Regular": "Lato-Bold",
    "Caladea-Regular": "Caladea-Bold", "Cantarell-Regular": "Cantarell-Bold", "FreeSans": "FreeSansBold",
    "LinLibertine_R": "LinLibertine_RB", "P052-Roman": "P052-Bold", "URWBookman-Light": "URWBookman-Demi",
    "URWGothic-Book": "URWGothic-Demi", "RobotoCondensed-Regular": "RobotoCondensed-Bold",
}  # fmt: skip


@cache
def open_text() -> Opening:
    """Values and labels on no list, in the base fonts and the plain layout."""
    return Opening(
        values=0.85,
        labels=0.45,
        looks=0.0,
        words=training_words(),
        draw_label=draw_label,
        faces=BASE_FACES,
        foreign=0.03,
    )


@cache
def open_looks() -> Opening:
    """Values, labels, fonts and layouts on no list."""
    alone = [(name, name) for name in (*COMMON, *RARE) if name not in _BOLD and name not in _BOLD.values()]
    files = tuple((font_name(regular), font_name(bold)) for regular, bold in [*_BOLD.items(), *alone])
    faces = BASE_FACES * 4 + tuple((name, name) for name in BASE[2::4]) + files
    return Opening(
        values=0.85, labels=0.45, looks=1.0, words=training_words(), draw_label=draw_label, faces=faces, foreign=0.03
    )

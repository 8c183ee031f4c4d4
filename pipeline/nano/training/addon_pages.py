"""Draws the documents that the embedded model's add-on is trained on: values, labels and looks as its base saw them."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from pipeline.nano.training.openings import open_looks
from pipeline.samples import Family
from pipeline.samples.document import BASE_FONTS
from pipeline.samples.write import pick_seeds, write_samples


def main() -> None:
    """Write a folder that ``docpipe train glimpse --data`` reads."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--documents", type=int, default=600)
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--small", action="store_true", help="fewer fields on smaller pages, to begin with")
    parser.add_argument("--labels", type=float, default=0.3, help="share of documents with labels on no list")
    arguments = parser.parse_args()
    family = Family(fonts=BASE_FONTS, opening=replace(open_looks(), values=0.6, labels=arguments.labels, looks=0.5))
    if arguments.small:
        family = replace(family, min_fields=5, max_fields=8, max_cells=560, table=0.15, free_text=0.25)
    write_samples(arguments.folder, pick_seeds(arguments.seed, arguments.documents), family)


if __name__ == "__main__":
    main()

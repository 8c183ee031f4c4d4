"""File names that a shell, a URL, a glob or a table could take for something else."""

from __future__ import annotations

import os

ODD_NAMES = (
    "Vertrag::v2.pdf",
    "dir::x/a.pdf",
    "memory:/b.pdf",
    "file:c.pdf",
    "a#b.pdf",
    "a?b.pdf",
    "a?b/%41.pdf",
    "50%.pdf",
    "a%20b.pdf",
    "two words.pdf",
    'it\'s "quoted".pdf',
    "line\nbreak.pdf",
    "-x.pdf",
    "--output.pdf",
    "s[1].pdf",
    "d[2]/e.pdf",
    "a*.pdf",
    "{input}.pdf",
    "~.pdf",
    "$HOME.pdf",
    "`id`;&|.pdf",
    "back\\slash.pdf",
    " space .pdf",
    "Müller.pdf",
    os.fsdecode(b"M\xfcller.pdf"),
    os.fsdecode(b"\xe4::%41/#\xfc.pdf"),
)

"""Relates the page before it is turned, where MuPDF reads words and puts notes, to the page as displayed."""

from __future__ import annotations

import pymupdf


def to_displayed(page: pymupdf.Page) -> pymupdf.Matrix:
    """Return the matrix that turns points of a page with its /Rotate; both are in points from the top left corner.

    PyMuPDF's own matrix forgets that /UserUnit makes the page larger.
    """
    width, height = page.rect.width, page.rect.height  # as displayed
    turns = {
        90: pymupdf.Matrix(0, 1, -1, 0, width, 0),
        180: pymupdf.Matrix(-1, 0, 0, -1, width, height),
        270: pymupdf.Matrix(0, -1, 1, 0, 0, height),
    }
    return turns.get(page.rotation, pymupdf.Matrix(1, 1))

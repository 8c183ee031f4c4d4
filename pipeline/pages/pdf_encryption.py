"""Tells how a PDF is encrypted, from its raw bytes: an encryption dictionary is never itself encrypted or packed."""

from __future__ import annotations

import re
from dataclasses import replace

from pipeline.pages.pdf_source import PdfSource

_ENCRYPT = re.compile(rb"/Encrypt(?=[\s<\d])")
_SECURITY = re.compile(rb"/Filter\s*/(?:Adobe\.PubSec|Entrust\.PPKEF)|/SubFilter\s*/adbe\.pkcs7")
_CONTENT_FILTERS = re.compile(rb"/(StmF|StrF)\s*/(\w+)")
_ATTACHMENTS = re.compile(rb"/EFF\s*/(?!Identity\b)\w+|/AuthEvent\s*/EFOpen")


def encrypted(raw: bytes) -> bool:
    """Tell whether the trailer of a PDF names an encryption dictionary."""
    return _ENCRYPT.search(raw) is not None


def certificate_needed(raw: bytes) -> bool:
    """Tell whether a PDF is encrypted for the holders of certificates, not with a password."""
    return _SECURITY.search(raw) is not None


def without_encryption(source: PdfSource) -> PdfSource | None:
    """Return a locked PDF without its encryption dictionary if that concerns attachments only, otherwise ``None``.

    Its pages are then in the clear, although renderers ask for the password.
    """
    raw = source.read()
    filters = dict(_CONTENT_FILTERS.findall(raw))
    if not _ATTACHMENTS.search(raw) or any(value != b"Identity" for value in filters.values()):
        return None
    return replace(source, data=_ENCRYPT.sub(b"/Ignored", raw))  # of the same length, so that all offsets stay

"""PDFs damaged in ways that readers meet, or that somebody thought out; the same seed damages them alike."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence

import pymupdf

Damage = Callable[[random.Random, bytes], bytes]

_STREAM = re.compile(rb"stream\r?\n(.*?)endstream", re.DOTALL)
_OBJECT = re.compile(rb"(\d+) 0 obj\b.*?endobj", re.DOTALL)
_BOX = re.compile(rb"/(?:Media|Crop)Box ?\[[^\]]*\]")
_FILTERS = [b"/FlateDecode", b"/LZWDecode", b"/DCTDecode", b"/JPXDecode", b"/JBIG2Decode", b"/CCITTFaxDecode"]
_BOXES = [
    b"0 0 1e9 1e9",
    b"0 0 14400 14400",
    b"0 0 0 0",
    b"600 800 0 0",
    b"0 0 1e-9 1e9",
    b"nan inf 0 0",
    b"-1e38 0 9 1",
]


def flipped(rng: random.Random, data: bytes) -> bytes:
    """A bit is turned in a few bytes or in many."""
    out = bytearray(data)
    for _ in range(rng.choice([1, 20, 400, len(out) // 50])):
        out[rng.randrange(len(out))] ^= 1 << rng.randrange(8)
    return bytes(out)


def truncated(rng: random.Random, data: bytes) -> bytes:
    """The end is missing, as of a copy that broke off."""
    return data[: int(len(data) * rng.random())]


def holed(rng: random.Random, data: bytes) -> bytes:
    """A stretch is zeros, as on a disk that lost sectors."""
    start = rng.randrange(len(data))
    end = min(len(data), start + rng.choice([512, 4096, 65536]))
    return data[:start] + bytes(end - start) + data[end:]


def cut_streams(rng: random.Random, data: bytes) -> bytes:
    """Streams lack their end, and with it the places in the cross-references are wrong."""

    def cut(found: re.Match[bytes]) -> bytes:
        if rng.random() < 0.5:
            return found[0]
        return b"stream\n" + found[1][: int(len(found[1]) * rng.random())] + b"\nendstream"

    return _STREAM.sub(cut, data)


def broken_references(rng: random.Random, data: bytes) -> bytes:
    """Cross-references lead elsewhere, or in a circle."""
    made = re.sub(rb"startxref\s+\d+", b"startxref\n%d" % rng.randrange(len(data)), data)
    made = re.sub(rb"/Prev \d+", b"/Prev %d" % rng.randrange(len(data)), made)

    def lead(found: re.Match[bytes]) -> bytes:
        return b"%010d 00000 n" % rng.randrange(len(data)) if rng.random() < 0.3 else found[0]

    return re.sub(rb"\d{10} \d{5} n", lead, made)


def doubled_objects(rng: random.Random, data: bytes) -> bytes:
    """Objects come again under numbers of others."""
    found = [match[0] for match in _OBJECT.finditer(data)] or [b"1 0 obj<<>>endobj"]
    numbers = [re.match(rb"\d+", one)[0] for one in found]  # type: ignore[index]
    again = [re.sub(rb"^\d+", rng.choice(numbers), rng.choice(found)) for _ in range(rng.randint(1, 8))]
    return data + b"\n" + b"\n".join(again)


def huge_boxes(rng: random.Random, data: bytes) -> bytes:
    """Pages are larger than a town, or are none."""
    return _BOX.sub(lambda match: b"/MediaBox[%s]" % rng.choice(_BOXES), data)


def other_filters(rng: random.Random, data: bytes) -> bytes:
    """Streams are decoded by what did not encode them, several times."""

    def decoded(_: re.Match[bytes]) -> bytes:
        return b"/Filter[%s]" % b" ".join(rng.choices(_FILTERS, k=rng.randint(1, 3)))

    return re.sub(rb"/Filter ?\[? ?/\w+ ?\]?", decoded, data)


def other_numbers(rng: random.Random, data: bytes) -> bytes:
    """Numbers of the file's structure are others: lengths, counts, widths, references."""
    values = [b"0", b"-1", b"1", b"65536", b"2147483647", b"99999999999999999999", b"1e38"]
    return re.sub(
        rb"(?<=[ /\[])\d+(?=[ /\]>])", lambda match: rng.choice(values) if rng.random() < 0.02 else match[0], data
    )


def nested(rng: random.Random, data: bytes) -> bytes:
    """An object holds thousands of others inside each other."""
    depth = rng.choice([100, 10_000, 200_000])
    opened, closed = rng.choice([(b"[", b"]"), (b"<</A", b">>"), (b"(", b")")])
    at = rng.choice([match.end() for match in re.finditer(rb" 0 obj", data)] or [0])
    return data[:at] + b"<</Deep" + opened * depth + closed * rng.choice([0, depth]) + data[at:]


def spliced(rng: random.Random, data: bytes) -> bytes:
    """Two parts of the file have changed places."""
    a, b, c = sorted(rng.randrange(len(data)) for _ in range(3))
    return data[:a] + data[b:c] + data[a:b] + data[c:]


def circular_pages(rng: random.Random, data: bytes) -> bytes:
    """The page tree holds itself, or claims a billion pages."""

    def circular(found: re.Match[bytes]) -> bytes:
        if b"/Kids" not in found[0]:
            return found[0]
        own = b"%s 0 R" % found[1]
        if rng.random() < 0.5:
            return re.sub(rb"/Kids ?\[([^\]]*)\]", rb"/Kids[%s \1 %s]" % (own, own), found[0])
        return re.sub(rb"/Count \d+", b"/Count %s" % rng.choice([b"1000000000", b"-1", b"2147483648"]), found[0])

    return _OBJECT.sub(circular, plain(data))


def circular_forms(rng: random.Random, data: bytes) -> bytes:
    """Every page draws a form that draws itself, or does so twice, which no depth of nesting ends in time."""
    with pymupdf.open("pdf", data) as pdf:
        form, content = pdf.get_new_xref(), pdf.get_new_xref()
        box = rng.choice(["0 0 600 800", "-1e9 -1e9 1e9 1e9"])
        own = f"<</Type/XObject/Subtype/Form/BBox[{box}]/Resources<</XObject<</F {form} 0 R>>>>>>"
        pdf.update_object(form, own)
        pdf.update_stream(form, b"q 0.9 0 0 0.9 1 1 cm %sQ" % (b"/F Do " * rng.choice([1, 2])))
        pdf.update_object(content, "<<>>")
        pdf.update_stream(content, b"/F Do")
        for page in pdf:
            pdf.xref_set_key(page.xref, "Resources", f"<</XObject<</F {form} 0 R>>>>")
            pdf.xref_set_key(page.xref, "Contents", f"{content} 0 R")
        made: bytes = pdf.tobytes(no_new_id=True)
    return made


DAMAGES: dict[str, Damage] = {
    damage.__name__: damage
    for damage in (
        flipped,
        truncated,
        holed,
        cut_streams,
        broken_references,
        doubled_objects,
        huge_boxes,
        other_filters,
        other_numbers,
        nested,
        spliced,
        circular_pages,
        circular_forms,
    )
}


def plain(data: bytes) -> bytes:
    """The same PDF with its objects as readable text, which a damage then reaches."""
    with pymupdf.open("pdf", data) as pdf:
        made: bytes = pdf.tobytes(expand=255, no_new_id=True)
    return made


def damaged(sound: Sequence[bytes], count: int, seed: int) -> list[tuple[str, bytes]]:
    """Damage PDFs, each in one of the ways in turn, every second one as plain text.

    Args:
        sound: PDFs that can be read.
        count: number of damaged PDFs.
        seed: seed of all choices.

    Returns:
        Names that tell the damage, and contents.
    """
    rng = random.Random(seed)
    made = []
    for number in range(count):
        name, damage = list(DAMAGES.items())[number % len(DAMAGES)]
        data = rng.choice(sound)
        made.append((f"{number:03}_{name}.pdf", damage(rng, plain(data) if rng.random() < 0.5 else data)))
    return made

"""PDFs written object by object, so that a test decides what is wrong with them."""

from __future__ import annotations

from collections.abc import Sequence

TREE = (b"<</Type/Catalog/Pages 2 0 R>>", b"<</Type/Pages/Kids[3 0 R]/Count 1>>")
FONT = b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>"
WORDS = b"BT /F1 24 Tf 20 100 Td (TOTAL 1234.56) Tj ET"


def written_pdf(objects: Sequence[bytes], trailer: bytes = b"") -> bytes:
    """A sound file of these objects, numbered from 1; the first is the catalog."""
    data, starts = b"%PDF-1.7\n", []
    for number, body in enumerate(objects, 1):
        starts.append(len(data))
        data += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = b"".join(b"%010d 00000 n \n" % start for start in starts)
    size = len(starts) + 1
    ending = b"trailer\n<</Size %d/Root 1 0 R%s>>\nstartxref\n%d\n%%%%EOF\n" % (size, trailer, len(data))
    return data + b"xref\n0 %d\n0000000000 65535 f \n%s" % (size, table) + ending


def stream(data: bytes, keys: bytes = b"") -> bytes:
    return b"<</Length %d%s>>\nstream\n%s\nendstream" % (len(data), keys, data)


def page(resources: bytes = b"", keys: bytes = b"") -> bytes:
    return b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 300 200]/Contents 4 0 R/Resources<<%s>>%s>>" % (resources, keys)


def words_pdf(words: bytes = WORDS, trailer: bytes = b"", catalog: bytes = b"", objects: Sequence[bytes] = ()) -> bytes:
    """One page of text; further objects have the numbers from 6."""
    root = TREE[0][:-2] + catalog + b">>"
    return written_pdf([root, TREE[1], page(b"/Font<</F1 5 0 R>>"), stream(words), FONT, *objects], trailer)


def picture_pdf(data: bytes, keys: bytes, above: bytes = b"") -> bytes:
    """One page with a picture of 300 x 200 pixels all over it, and content above that."""
    drawn = b"q 300 0 0 200 0 0 cm /I Do Q " + above
    picture = stream(data, b"/Type/XObject/Subtype/Image/Width 300/Height 200" + keys)
    return written_pdf([*TREE, page(b"/XObject<</I 5 0 R>>/Font<</F1 6 0 R>>"), stream(drawn), picture, FONT])


def many_pages_pdf(contents: Sequence[bytes], count: int | None = None) -> bytes:
    """One page of text for each content; the page tree states ``count`` of them."""
    first = 4
    kids = b" ".join(b"%d 0 R" % (first + 2 * number) for number in range(len(contents)))
    stated = len(contents) if count is None else count
    objects = [TREE[0], b"<</Type/Pages/Kids[%s]/Count %d/MediaBox[0 0 300 200]>>" % (kids, stated), FONT]
    for number, content in enumerate(contents):
        objects.append(
            b"<</Type/Page/Parent 2 0 R/Contents %d 0 R/Resources<</Font<</F1 3 0 R>>>>>>" % (first + 2 * number + 1)
        )
        objects.append(stream(content))
    return written_pdf(objects)


def endless_pdf(pages: int) -> bytes:
    """Pages whose content draws 2^40 forms, which neither renderer finishes."""
    form = b"/Type/XObject/Subtype/Form/BBox[0 0 9 9]"
    forms = [stream(b"/X Do /X Do", form + b"/Resources<</XObject<</X %d 0 R>>>>" % (5 + n)) for n in range(40)]
    forms.append(stream(b"0 0 9 9 re f", form))
    first = 4 + len(forms)
    kids = b" ".join(b"%d 0 R" % (first + n) for n in range(pages))
    page = b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 300 200]/Contents 3 0 R/Resources<</XObject<</X 4 0 R>>>>>>"
    tree = b"<</Type/Pages/Kids[%s]/Count %d>>" % (kids, pages)
    return written_pdf([TREE[0], tree, stream(b"/X Do"), *forms, *[page] * pages])

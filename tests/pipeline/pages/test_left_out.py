"""What MuPDF leaves out without a word: transfer functions turn black into white, expressions hide layers."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.pages.renderer import RenderChild, decode_image
from pipeline.records import PageImage, PixelBudget
from tests.support.hostile import Put
from tests.support.written_pdf import FONT, TREE, page, stream, written_pdf

BUDGET = PixelBudget(28, 3136, 28 * 28 * 256, "pipeline.families.qwen2_5_vl")
TURNS = b"<</FunctionType 2/Domain[0 1]/Range[0 1]/C0[1]/C1[0]/N 1>>"  # black into white, white into black
BOX = b"/G gs 0.9 g 100 50 100 100 re f BT /F1 24 Tf 20 20 Td (TOTAL) Tj ET"  # light on white, dark once it is turned


def drawn(child: RenderChild, put: Put, state: bytes, inside: str) -> PageImage:
    """A page whose box and words are drawn in a graphics state, on the page itself or inside a form or pattern."""
    own = b"/Font<</F1 5 0 R>>/ExtGState<</G<<%s>>>>" % state
    form = stream(BOX, b"/Type/XObject/Subtype/Form/BBox[0 0 300 200]/Resources<<%s>>" % own)
    pattern = stream(
        BOX, b"/PatternType 1/PaintType 1/TilingType 1/BBox[0 0 300 200]/XStep 300/YStep 200/Resources<<%s>>" % own
    )
    resources, content, *more = {
        "page": (own, BOX),
        "form": (b"/XObject<</X 6 0 R>>", b"/X Do", form),
        "pattern": (b"/Pattern<</P 6 0 R>>", b"/Pattern cs /P scn 0 0 300 200 re f", pattern),
    }[inside]
    data = written_pdf([*TREE, page(resources), stream(content), FONT, *more])
    (result,) = child.render(put("turned.pdf", data), [1], 72, BUDGET)
    assert isinstance(result, PageImage), result
    return result


@pytest.mark.parametrize("inside", ["page", "form", "pattern"])
@pytest.mark.parametrize("key", [b"/TR ", b"/TR2 "])
def test_a_page_with_a_transfer_function_is_drawn_by_the_renderer_that_applies_it(
    child: RenderChild, put: Put, inside: str, key: bytes
) -> None:
    page_image = drawn(child, put, key + TURNS, inside)
    assert (page_image.renderer, page_image.is_doubtful) == ("pdfium", False)
    assert page_image.warnings == "ignoring transfer function"
    box = decode_image(page_image)[90:110, 140:160]
    assert np.abs(box.astype(int) - 26).max() < 10  # a tenth of white


@pytest.mark.parametrize("state", [b"/TR /Identity", b"/TR2 /Default", b"/TR2 /Default/TR " + TURNS, b"/CA 1"])
def test_a_graphics_state_that_changes_no_colour_leaves_the_page_to_the_first_renderer(
    child: RenderChild, put: Put, state: bytes
) -> None:
    page_image = drawn(child, put, state, "page")
    assert (page_image.renderer, page_image.warnings) == ("mupdf", None)


def test_a_transfer_function_may_leave_less_to_be_seen(child: RenderChild, put: Put) -> None:
    """Lines that have to become as good as white are more ink in the wrong picture."""
    pale = b"<</FunctionType 2/Domain[0 1]/Range[0 1]/C0[.98]/C1[1]/N 1>>"
    lines = b"".join(b"0 %d 300 6 re f " % y for y in range(60, 200, 12))
    words = stream(b"BT /F1 24 Tf 20 20 Td (TOTAL) Tj ET /G gs " + lines)
    own = page(b"/Font<</F1 5 0 R>>/ExtGState<</G<</TR %s>>>>" % pale)
    (result,) = child.render(put("pale.pdf", written_pdf([*TREE, own, words, FONT])), [1], 72, BUDGET)
    assert isinstance(result, PageImage), result
    assert (result.renderer, result.is_doubtful) == ("pdfium", False)
    assert decode_image(result)[:120].min() > 240


def test_forms_that_contain_themselves_are_looked_at_once(child: RenderChild, put: Put) -> None:
    own = b"/Font<</F1 5 0 R>>/XObject<</X 6 0 R>>"
    form = stream(
        b"BT /F1 24 Tf 20 20 Td (TOTAL) Tj ET /X Do", b"/Subtype/Form/BBox[0 0 300 200]/Resources<<%s>>" % own
    )
    data = written_pdf([*TREE, page(own), stream(b"/X Do"), FONT, form])
    (result,) = child.render(put("round.pdf", data), [1], 72, BUDGET)
    assert isinstance(result, PageImage)
    assert not result.blank


@pytest.mark.parametrize("of_form", [False, True], ids=["marked content", "form"])
@pytest.mark.parametrize("expression", [b"/Or 7 0 R", b"/Not 8 0 R"], ids=["hidden layer", "layer is shown"])
def test_what_a_visibility_expression_hides_is_not_shown(
    child: RenderChild, put: Put, expression: bytes, of_form: bool
) -> None:
    box = b"0 g 200 150 50 30 re f"
    layer = b"<</Type/OCMD/VE[%s]>>" % expression
    form = stream(box, b"/Type/XObject/Subtype/Form/BBox[0 0 300 200]/OC 9 0 R")
    hidden = b"/X Do" if of_form else b"/OC /L BDC %s EMC" % box
    catalog = TREE[0][:-2] + b"/OCProperties<</OCGs[7 0 R 8 0 R]/D<</OFF[7 0 R]>>>>>>"
    resources = b"/Font<</F1 5 0 R>>/XObject<</X 6 0 R>>" + (b"" if of_form else b"/Properties<</L 9 0 R>>")
    groups = [b"<</Type/OCG/Name(%s)>>" % name for name in (b"off", b"on")]
    words = stream(b"BT /F1 24 Tf 20 20 Td (TOTAL) Tj ET " + hidden)
    data = written_pdf([catalog, TREE[1], page(resources), words, FONT, form, *groups, layer])
    (result,) = child.render(put("layers.pdf", data), [1], 72, BUDGET)
    assert isinstance(result, PageImage), result
    assert (result.renderer, result.warnings) == ("pdfium", "ignoring visibility expression")
    assert decode_image(result)[30:40, 210:230].min() == 255

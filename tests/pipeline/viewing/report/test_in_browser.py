"""The report in a browser: it opens, filters, sorts, shows a crop, takes the keyboard, and fits a phone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.pages.renderer import RenderChild
from pipeline.viewing.originals import Originals
from pipeline.viewing.published import read_published
from pipeline.viewing.report.page import make_report
from tests.support.browser import chromium
from tests.support.viewed import TOTAL_BOX, answer, failure, of_document, page, write_output, write_pdf

pytestmark = pytest.mark.browser
HOSTILE = '</script><script>window.harm=1</script><img src=x onerror="window.harm=1">'
DESKTOP, PHONE = {"width": 1360, "height": 900}, {"width": 375, "height": 740}
ROWS = ".tabulator-row:visible"
Open = Callable[..., Any]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with every status, a hostile answer, a crop, and an older run."""
    root = tmp_path_factory.mktemp("viewed")
    write_pdf(root / "in/a.pdf")
    here = of_document(root / "in", "a.pdf")
    other = {
        "document_id": "b",
        "document": f"b {HOSTILE}.pdf",
        "source": str(root / "in"),
        "document_sha256": "0" * 64,
    }
    rows = [
        answer(**here, evidence=[TOTAL_BOX], status="needs_review", review_reasons=["floor"], answer="1903.88", page=1),
        answer(**here, question_id="date", answer=HOSTILE, confidence=0.31, evidence=[TOTAL_BOX]),
        answer(**other, answer="n/a", status="not_answerable", confidence=0.7),
        answer(**other, question_id="date", answer="\u202e\u05e9\u05dc\u05d5\u05dd", confidence=None),
        answer(
            document_id="c", document="c.pdf", page=None, unit_id="f", status="failed", answer=None, confidence=None
        ),
        *(
            answer(document_id="d", document="d.pdf", page=n, answer=f"{n}.00", confidence=n / 1000)
            for n in range(500, 900)
        ),
    ]
    failures = [failure(document_id="c", document="c.pdf", unit_id="f", page=None)]
    run = read_published(write_output(root / "out", rows, [page(**here)], failures))
    before = [*rows[1:3], answer(**here, answer="2"), answer(**here, page=7)]
    older = read_published(write_output(root / "old", before))
    with RenderChild() as child:
        made = make_report(run, older, Originals(child), child, 5, 2.0, lambda: None)
    (root / "report.html").write_text(made.html, encoding="utf-8")
    return root / "report.html"


@pytest.fixture
def opened(browser: Any, report: Path) -> Iterator[Open]:
    """Open the report; at the end, nothing was complained of and nothing was loaded from anywhere."""
    contexts, said, asked = [], [], []

    def open_(viewport: dict[str, int] = DESKTOP, **given: Any) -> Any:
        context = browser.new_context(viewport=viewport, **given)
        contexts.append(context)
        tab = context.new_page()
        tab.on("console", lambda message: said.append(message.text) if message.type in ("error", "warning") else None)
        tab.on("pageerror", lambda error: said.append(str(error)))
        tab.on("request", lambda request: asked.append(request.url))
        tab.goto(report.as_uri())
        tab.wait_for_selector("html[data-ready]", state="attached")
        return tab

    yield open_
    for context in contexts:
        context.close()
    assert said == []
    assert {url for url in asked if not url.startswith("data:")} == {report.as_uri()}


def count(tab: Any) -> str:
    return str(tab.locator("#count").inner_text())


def detail(tab: Any) -> str:
    return str(tab.locator("#detail").inner_text())


def column(tab: Any, field: str) -> list[str]:
    return [text.strip() for text in tab.locator(f"{ROWS} [tabulator-field={field}]").all_inner_texts()]


def test_it_opens_with_what_waits_first(opened: Open) -> None:
    tab = opened()
    assert tab.locator("h1").inner_text() == "1 answer waits for your eyes."
    assert count(tab) == "406 rows"  # one of them is of the older run only
    assert column(tab, "status")[:3] == ["to review", "failed", "answered"]
    assert "hardly any visual token" in detail(tab)
    picture = tab.locator("#detail img")
    assert picture.get_attribute("alt") == "Page 1 of a.pdf: the place framed"
    assert picture.evaluate("image => image.complete && image.naturalWidth") > 300
    assert tab.locator(".tabulator-row").count() < 100  # only rows that can be seen are in the page


def test_hostile_names_and_answers_stay_text(opened: Open) -> None:
    tab = opened()
    tab.fill("#search", "harm")
    tab.locator("#count", has_text="3 of 406 rows").wait_for()
    tab.locator(ROWS, has_text="answered").first.click()
    assert HOSTILE in detail(tab)
    assert tab.evaluate("window.harm") is None
    assert tab.locator("#table img, #detail script").count() == 0


def test_chips_search_and_lists_filter_together(opened: Open) -> None:
    tab = opened()
    chip = tab.get_by_role("button", name="1 to review")
    chip.click()
    assert (count(tab), chip.get_attribute("aria-pressed")) == ("1 of 406 rows", "true")
    chip.click()
    assert count(tab) == "406 rows"
    tab.select_option("#by-question", "date")
    assert count(tab) == "2 of 406 rows"
    tab.select_option("#by-question", "")
    tab.select_option("#by-reason", "hardly any visual token passed the threshold")
    assert column(tab, "answer") == ["1903.88"]
    tab.fill("#search", "no such thing")
    tab.wait_for_selector("text=No answer fits")
    assert detail(tab) == ""
    tab.get_by_role("button", name="Review first").click()
    assert count(tab) == "406 rows"
    assert "1903.88" in detail(tab)


def test_what_changed_is_shown_beside_what_was(opened: Open) -> None:
    tab = opened()
    assert "Since" in tab.locator(".since").inner_text()
    tab.get_by_role("button", name="1 other answers").click()
    assert column(tab, "change") == ["other answer"]
    assert "2 (answered)" in detail(tab)
    tab.get_by_role("button", name="1 gone").click()
    assert "only in the older run" in detail(tab)


def test_columns_sort_by_mouse_and_by_key(opened: Open) -> None:
    tab = opened()
    header = tab.locator(".tabulator-col[tabulator-field=confidence]")
    header.click()
    assert column(tab, "confidence")[:2] == ["0.310", "0.500"]
    header.focus()
    tab.keyboard.press("Enter")
    assert header.get_attribute("aria-sort") == "descending"
    assert column(tab, "confidence")[0] == "0.900"


def test_the_keyboard_goes_through_the_rows(opened: Open) -> None:
    tab = opened()
    tab.keyboard.press("/")
    assert tab.evaluate("document.activeElement.id") == "search"
    holder = tab.locator(".tabulator-tableholder")
    holder.focus()
    assert tab.locator("#place").inner_text() == "1 of 406"
    tab.keyboard.press("ArrowDown")
    assert "it needs a password" in detail(tab)
    tab.keyboard.press("End")
    assert tab.locator("#place").inner_text() == "406 of 406"
    picked = tab.locator(".tabulator-row.picked")
    picked.wait_for()
    assert picked.get_attribute("aria-selected") == "true"
    assert holder.get_attribute("aria-activedescendant") == picked.get_attribute("id")
    tab.keyboard.press("Home")
    assert "1903.88" in detail(tab)


def test_a_phone_shows_one_answer_at_a_time_and_scrolls_one_way(opened: Open) -> None:
    tab = opened(PHONE, has_touch=True, is_mobile=True)
    assert tab.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    slip, table = tab.locator("#slip").bounding_box(), tab.locator("#table").bounding_box()
    assert slip["y"] + slip["height"] <= table["y"]
    tab.locator("#next").tap()
    assert "it needs a password" in detail(tab)
    assert tab.locator(".tabulator-col[tabulator-field=answer]").is_visible()


def test_dark_and_light_are_readable(opened: Open) -> None:
    for scheme in ("light", "dark"):
        tab = opened(color_scheme=scheme)
        for selector in (
            "h1",
            ".lede",
            ".tabulator-cell .said",
            "#detail dt",
            ".chip",
            ".why li",
            ".charts p",
            "footer",
        ):
            ratio = tab.locator(selector).first.evaluate(CONTRAST)
            assert ratio >= 4.5, f"{scheme} {selector}: {ratio:.1f}"


CONTRAST = """element => {
  const parse = (colour) => {
    const [r, g, b, a = 1] = colour.match(/[\\d.]+/g).map(Number);
    return colour.startsWith("color(") ? [r * 255, g * 255, b * 255, a] : [r, g, b, a];
  };
  const light = ([r, g, b]) => {
    const [x, y, z] = [r, g, b].map((c) => (c / 255 <= 0.03928 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  let ground = null;
  for (let at = element; at && ground === null; at = at.parentElement) {
    const colour = parse(getComputedStyle(at).backgroundColor);
    if (colour[3] > 0.9) ground = colour;
  }
  const [a, b] = [light(parse(getComputedStyle(element).color)), light(ground)].sort((x, y) => y - x);
  return (a + 0.05) / (b + 0.05);
}"""


def test_everything_has_a_name(opened: Open) -> None:
    tab = opened()
    nameless = """() => [...document.querySelectorAll("button, input, select, img, [role=region], a")].filter((e) =>
      !(e.labels && e.labels.length) && !e.getAttribute("aria-label") && !e.getAttribute("aria-labelledby") &&
      !e.textContent.trim() && !e.getAttribute("alt")).map((e) => e.outerHTML)"""
    assert tab.evaluate(nameless) == []


def test_costs_follow_the_price(opened: Open) -> None:
    tab = opened()
    tab.fill("#price", "4")
    costs = tab.locator("[data-hours]").all_inner_texts()
    assert all(float(cost.replace(",", "")) > 0 for cost in costs)
    tab.fill("#price", "")
    assert set(tab.locator("[data-hours]").all_inner_texts()) == {"\u2013"}

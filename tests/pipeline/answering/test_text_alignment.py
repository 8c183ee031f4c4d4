from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.answering.page_text import PageText
from pipeline.answering.text_alignment import find_answer
from tests.support.page_words import words_of

PAGE = """Invoice INV-12345 2013-05-01 Qty:7 v1.2.3
Total: $1.903,88 paid 10-20
Lief-
erung 1 903,88  x
5 March 2024 12kg €50.00 less - 8.25
DE89 3704 0044 0532 0130 00
Grade A a dog -5 °C Kim Longname
Adams 19 % (42) 0042 75.00 EUR
港区東京 m² 3² ﬁnal ＡＢＣ１２
Karl-Heinz O'Brien Müller & Söhne
٣٤٥ 4711 09.08.2021 Consolidated"""


@pytest.fixture(scope="module")
def page() -> PageText:
    return PageText(words_of(PAGE))


def texts(page: PageText, answer: str) -> list[str]:
    """Where an answer stands on the page; nothing where other words are only like it."""
    found = find_answer(page, answer)
    assert found is not None
    return [page.text_of(place) for place in found.places] if found.same else []


@pytest.mark.parametrize(
    ("answer", "stands"),
    [
        ("INV-12345", "INV-12345"),
        ("inv 12345", "INV-12345"),
        ("Invoice INV-12345", "Invoice INV-12345"),
        ("12345", "INV-12345"),
        ("2013", "2013-05-01"),
        ("7", "Qty:7"),
        ("v1.2.3", "v1.2.3"),
        ("Lieferung", "Lief-\nerung"),
        ("paid.", "paid"),
        ('"paid"', "paid"),
        ("12 kg", "12kg"),
        ("12", "12kg"),
        ("DE89370400440532013000", "DE89 3704 0044 0532 0130 00"),
        ("A", "A"),
        ("-5 °C", "-5 °C"),
        ("\u22125 °C", "-5 °C"),
        ("19%", "19 %"),
        ("19", "19"),
        ("42", "(42)"),
        ("0042", "0042"),
        ("75 EUR", "75.00 EUR"),
        ("EUR 75", "75.00 EUR"),
        ("75.0", "75.00"),
        ("-8.25", "- 8.25"),
        ("東京", "港区東京"),
        ("final", "ﬁnal"),
        ("abc12", "ＡＢＣ１２"),
        ("Karl Heinz", "Karl-Heinz"),
        ("OBrien", "O'Brien"),
        ("345", "٣٤٥"),
        ("2024-03-05", "5 March 2024"),
        ("05/03/2024", "5 March 2024"),
        ("5 March 2024", "5 March 2024"),
        ("9 August 2021", "09.08.2021"),
        ("20210809", "09.08.2021"),
    ],
)
def test_an_answer_is_found_in_another_form(page: PageText, answer: str, stands: str) -> None:
    assert texts(page, answer) == [stands]


@pytest.mark.parametrize("answer", ["1,903.88", "1.903,88", "1 903.88", "1903.88", "$1,903.88"])
def test_a_number_is_found_by_its_value(page: PageText, answer: str) -> None:
    assert texts(page, answer) == ["$1.903,88", "1 903,88"]


@pytest.mark.parametrize(
    "answer",
    [
        *(
            "1",
            "2",
            "05",
            "20",
            "903",
            "88",
            "903.88",
            "1,903",
            "1,903.89",
            "2,903.88",
            "190388",
            "19038.8",
            "-1,903.88",
        ),
        *("INV-12346", "INV-1234", "INV-123456", "12346", "45", "nv-12345", "B", "5 °C", "6 °C", "75 USD", "$50.00"),
        *(
            "19038.8",
            "042",
            "00042",
            "m2",
            "32",
            "12 lb",
            "2024-03-06",
            "2025-03-05",
            "09.08.2022",
            "Adam",
            "dams",
            "Ada",
        ),
        *(
            "4712",
            "Tim Longname",
            "Kim Langnamen",
            "Smith",
            "Grande",
            "DE89370400440532013001",
            "Konsolidation",
            "13-05",
        ),
    ],
)
def test_what_is_not_on_the_page_is_not_found(page: PageText, answer: str) -> None:
    assert texts(page, answer) == []


def test_one_wrong_letter_in_twenty_is_the_same_and_more_only_show_where_it_may_be(page: PageText) -> None:
    assert texts(PageText(words_of("to Consolidated Harbor Holding")), "Consolidatad Harbor Holding") == [
        "Consolidated Harbor Holding"
    ]
    assert texts(page, "Consolidatad") == []
    related = find_answer(page, "Consolidierd")
    assert related is not None
    assert (related.same, [page.text_of(place) for place in related.places]) == (False, ["Consolidated"])


def test_digits_are_never_guessed_where_letters_are() -> None:
    page = PageText(words_of("Consolidated 2021 Holding"))
    assert texts(page, "Consolidatad 2021 Holding") == ["Consolidated 2021 Holding"]
    for answer in ("Consolidated 2022 Holding", "Consolidatad 2012 Holding", "Consolidated 20210 Holding"):
        found = find_answer(page, answer)
        assert found is not None
        assert found.places == ()


@pytest.mark.parametrize(
    ("line", "there", "elsewhere"),
    [
        ("Grade B+", "B+", ["B-", "B", "B#"]),
        ("Blood A-", "A-", ["A+", "A"]),
        ("Result HIV-", "HIV-", ["HIV+"]),
        ("Rh +", "Rh +", ["Rh -"]),
        ("Language C++", "C++", ["C#", "C", "C+"]),
        ("Temp +5", "+5", ["<5", "-5"]),
        ("Level <10 mg", "< 10 mg", [">10 mg", "+10 mg"]),
        ("Level <10", "<10", [">10", "-10"]),
        ("Consolidated Harbor Holding Rh +", "Consolidatad Harbor Holding Rh +", ["Consolidated Harbor Holding Rh <"]),
    ],
)
def test_signs_tell_grades_and_limits_apart(line: str, there: str, elsewhere: list[str]) -> None:
    page = PageText(words_of(line))
    assert texts(page, there) != []
    assert [answer for answer in elsewhere if texts(page, answer)] == []


@pytest.mark.parametrize(
    ("line", "answer"),
    [("+5 °C", "5 °C"), ("<Name>", "Name"), ("+Item", "Item"), ("Tel +49 30 90", "49 30 90"), ("<10", "10")],
)
def test_a_sign_before_an_answer_is_no_part_of_it(line: str, answer: str) -> None:
    assert texts(PageText(words_of(line)), answer) != []


@pytest.mark.parametrize(
    ("line", "there", "elsewhere"),
    [
        ("Discount 50 EUR", ["50 EUR", "50"], ["50%", "$50"]),
        ("Rate 7.25%", ["7.25%", "7.25 %", "7.25"], ["$7.25", "7.25 EUR"]),
        ("Rate (7.25%)", ["7.25%"], ["$7.25"]),
        ("VAT 19 %, paid", ["19%", "19"], ["19 EUR"]),
        ("Rent 40", ["40 EUR", "40%"], []),
    ],
)
def test_per_cent_is_a_unit_as_a_currency_is(line: str, there: list[str], elsewhere: list[str]) -> None:
    page = PageText(words_of(line))
    assert [answer for answer in (*there, *elsewhere) if texts(page, answer)] == there


@pytest.mark.parametrize(
    ("line", "there", "elsewhere"),
    [
        ("Total 12 345 678,90 EUR", ["12345678.90"], ["345 678,90", "345678.90", "345 678,90 EUR", "12 345 678"]),
        ("Net 1 234 567,89", ["1 234 567,89"], ["234 567,89", "234567.89"]),
        ("Card 4111 1111 1111 1234", ["4111111111111234", "4111 1111 1111 1234"], ["1111 1111 1234", "4111 1111 1111"]),
        ("Phone 030 1234 5678", ["030 1234 5678", "03012345678"], []),
        ("Order 20240815 12 pcs", ["Order 20240815", "20240815"], []),
    ],
)
def test_a_part_of_a_longer_number_is_not_found(line: str, there: list[str], elsewhere: list[str]) -> None:
    page = PageText(words_of(line))
    assert [answer for answer in (*there, *elsewhere) if texts(page, answer)] == there


def test_figures_of_two_cells_are_no_number() -> None:
    page = PageText(words_of("Qty 12  3456.78\nOrder 2024  0815"))
    assert [answer for answer in ("123456.78", "20240815", "12345678") if texts(page, answer)] == []
    assert texts(page, "3456.78") == ["3456.78"]
    assert texts(PageText(words_of("Order 2024 0815")), "20240815") == ["2024 0815"]


@pytest.mark.parametrize(
    ("line", "there", "elsewhere"),
    [
        ("Age 30 - 40 years", ["30", "40", "30 - 40"], ["-40", "- 40"]),
        ("2020 \u2013 2024", ["2024"], ["-2024"]),
        ("Balance  - 17 12  - 19 12\n- 20", ["-17", "-19", "-20"], []),
    ],
)
def test_the_dash_of_a_range_is_no_sign(line: str, there: list[str], elsewhere: list[str]) -> None:
    page = PageText(words_of(line))
    assert [answer for answer in (*there, *elsewhere) if texts(page, answer)] == there


@pytest.mark.parametrize(
    ("line", "there", "elsewhere"),
    [
        ("GBP 5.00 EUR 6.00", ["£5.00", "EUR 6.00"], ["EUR 5.00", "GBP 6.00"]),
        ("7.00 EUR 8.00 USD 19 %", ["7 EUR", "8 USD", "19%"], ["USD 7.00", "EUR 8.00", "19 USD"]),
        ("EUR 1 250.00 USD 66.20 GBP 7.00", ["EUR 1250", "USD 66.20"], ["USD 1250", "GBP 66.20"]),
        ("EUR 5.00 USD", ["EUR 5.00", "USD 5.00"], []),
    ],
)
def test_a_unit_belongs_to_the_number_on_its_side(line: str, there: list[str], elsewhere: list[str]) -> None:
    page = PageText(words_of(line))
    assert [answer for answer in (*there, *elsewhere) if texts(page, answer)] == there


def test_marks_alone_say_nothing(page: PageText) -> None:
    assert find_answer(page, "—") is None
    assert find_answer(page, "✓") is None


def test_every_place_is_found_in_the_order_of_the_page() -> None:
    page = PageText(words_of("12 EUR\nother 12\n12.00"))
    found = find_answer(page, "12")
    assert found is not None
    assert found.places == ((0,), (3,), (4,))


def test_words_of_a_row_are_found_though_the_file_has_them_apart() -> None:
    words = words_of("Ada  Grace\nLovelace  Hopper")
    moved = list(words.corners)
    moved[8:12], moved[4:8] = [40.0, 0.0, 80.0, 10.0], [200.0, 0.0, 225.0, 10.0]  # Lovelace is beside Ada
    page = PageText(type(words)(words.text, tuple(moved)))
    assert texts(page, "Ada Lovelace") == ["Ada Lovelace"]


def test_groups_of_a_number_are_near_each_other() -> None:
    page = PageText(words_of("12 500  3  000"))
    assert texts(page, "12500") == ["12 500"]
    assert texts(page, "500") == ["500"]
    assert texts(page, "3000") == []


amounts = st.decimals(min_value=1, max_value=10**7, places=2)


@given(amounts, st.data())
def test_another_digit_is_never_found(amount: object, data: st.DataObject) -> None:
    printed = f"{amount:,}"
    page = PageText(words_of(f"Total: {printed} EUR"))
    assert texts(page, printed.replace(",", " ").replace(".", ",")) != []
    place = data.draw(st.sampled_from([i for i, char in enumerate(printed) if char.isdigit()]))
    digit = data.draw(st.sampled_from([d for d in "0123456789" if d != printed[place]]))
    assert texts(page, printed[:place] + digit + printed[place + 1 :]) == []


@pytest.mark.parametrize("answer", ["1 " * 4000, "Consolidated " * 400, "1" * 9000, "9.9," * 2000, "(" * 5000 + "x9"])
def test_an_answer_that_repeats_itself_takes_no_time(page: PageText, answer: str) -> None:
    began = time.process_time()
    assert texts(page, answer) == []
    assert time.process_time() - began < 1.0

"""The metrics of the benchmarks, on values worked out by hand."""

from __future__ import annotations

import pytest
from anls import anls_score
from hypothesis import given
from hypothesis import strategies as st

from pipeline.evaluation.benchmarks.scores import mean_of, micro_f1
from pipeline.evaluation.benchmarks.vqa_accuracy import normalised, textvqa_accuracy, vqa_accuracy
from pipeline.evaluation.metrics import anls

SHORT = st.text("abB \n", min_size=1, max_size=7).filter(str.strip)


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("The Red Bus", "red bus"),
        ("two", "2"),
        ("none", "0"),
        ("dont", "don't"),
        ("couldntve", "couldntve"),  # on no list
        ("couldnt've", "couldn't've"),
        ("couldn'tve", "couldn't've"),
        ("y'allll", "y'all'll"),
        ("somebody'd", "somebodyd"),
        ("yes!", "yes"),
        ("red,blue", "red blue"),
        ("red, blue", "red blue"),
        ("1,000", "1000"),
        ("well-known", "well known"),
        ("a 1,000-ton ship", "1000ton ship"),  # a comma in a number removes every mark
        ("3.5", "3.5"),
        ("U.S.A.", "usa"),
        ("line\none", "line 1"),
        ("what's up?", "what's up"),
        ("", ""),
    ],
)
def test_answers_are_normalised_by_the_rules_of_vqa(text: str, want: str) -> None:
    assert normalised(text) == want


@pytest.mark.parametrize(
    ("answer", "people", "want"),
    [
        ("red", ["red"] * 10, 1.0),
        # The nine that leave a "red" out see two others, one that leaves out "blue" sees three.
        ("red", ["red"] * 3 + ["blue"] * 7, (3 * 2 / 3 + 7 * 1) / 10),
        ("red", ["red"] * 4 + ["blue"] * 6, 1.0),
        ("red", ["red"] + ["blue"] * 9, (0 + 9 / 3) / 10),
        ("red", ["red"] * 2 + ["blue"] * 8, (2 / 3 + 8 * 2 / 3) / 10),
        ("green", ["red"] * 5 + ["blue"] * 5, 0.0),
        ("The red.", ["red"] * 5 + ["a red"] * 5, 1.0),
        ("Red", ["red"] * 10, 0.0),  # all people agree, so nothing is normalised
        ("Red", ["red"] * 9 + ["blue"], 1.0),
    ],
)
def test_an_answer_is_held_against_ten_people_each_left_out_in_turn(
    answer: str, people: list[str], want: float
) -> None:
    assert vqa_accuracy(answer, people) == pytest.approx(want)


def test_textvqa_normalises_always() -> None:
    assert textvqa_accuracy("Red", ["red"] * 10) == 1.0
    assert textvqa_accuracy("mcdonald's", ["McDonald's"] * 3 + ["burger"] * 7) == pytest.approx((3 * 2 / 3 + 7) / 10)
    assert textvqa_accuracy("1,000", ["1000"] * 10) == 1.0


def test_f1_counts_over_all_documents() -> None:
    found = micro_f1([(["a", "b"], ["a", "c"]), ([], ["d"]), (["x", "x"], ["x"])])
    assert found["precision"] == pytest.approx(2 / 4)
    assert found["recall"] == pytest.approx(2 / 4)
    assert found["F1"] == pytest.approx(0.5)
    assert micro_f1([([], ["a"])]) == {"F1": 0.0, "precision": 0.0, "recall": 0.0}
    assert (mean_of([]), mean_of([0.5, 1.0])) == (0.0, 0.75)


@given(SHORT, st.lists(SHORT, min_size=1, max_size=3))
def test_anls_is_that_of_the_public_package(answer: str, gold: list[str]) -> None:
    assert anls(answer, gold) == pytest.approx(anls_score(prediction=answer, gold_labels=gold, threshold=0.5))

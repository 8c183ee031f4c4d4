from __future__ import annotations

import pytest

from pipeline.globs import compile_glob, may_match_below, split_glob


@pytest.mark.parametrize(
    ("pattern", "folder", "may"),
    [
        ("*.pdf", "", True),
        ("*.pdf", "a", False),
        ("a/*.pdf", "a", True),
        ("a/*.pdf", "b", False),
        ("a/*.pdf", "a/b", False),
        ("**", "a/b/c", True),
        ("a/**/x.pdf", "a/b/c", True),
        ("a/**/x.pdf", "b", False),
        ("20??/*/[ab].pdf", "2024/q1", True),
        ("20??/*/[ab].pdf", "24/q1", False),
        ("v.a/*.pdf", "v.A", False),
        ("20??/*/[ab].pdf", "2024/q1/x", False),
    ],
)
def test_a_folder_is_looked_into_if_the_glob_can_match_below_it(pattern: str, folder: str, may: bool) -> None:
    assert may_match_below(pattern, folder) is may


@pytest.mark.parametrize("pattern", ["[]x.pdf", "[!]x.pdf", "a[b.pdf", "[a]b[.pdf"])
def test_a_bracket_that_nothing_closes_stands_for_itself(pattern: str) -> None:
    assert compile_glob(pattern).fullmatch(pattern.replace("[a]", "a")) is not None


@pytest.mark.parametrize("pattern", ["*[]].pdf", "[!]]*.pdf", "a[0-9].pdf"])
def test_an_ending_behind_brackets_has_any_case(pattern: str) -> None:
    name = {"*[]].pdf": "a].PDF", "[!]]*.pdf": "ab.PDF", "a[0-9].pdf": "a7.Pdf"}[pattern]
    assert compile_glob(pattern).fullmatch(name) is not None


@pytest.mark.parametrize(
    ("path", "split"),
    [
        ("/a*", ("/", "a*")),
        ("a*/b?.pdf", ("", "a*/b?.pdf")),
        ("/x/in[1]", ("/x/in[1]", "")),
        ("/x/in[1]/*.pdf", ("/x/in[1]", "*.pdf")),
        ("/x/in[1]/new.pdf", ("/x/in[1]/new.pdf", "")),
        ("https://host/x/*.pdf", ("https://host/x", "*.pdf")),
        ("/x/a.pdf", ("/x/a.pdf", "")),
    ],
)
def test_a_path_is_split_where_a_wildcard_is_no_part_of_a_name(path: str, split: tuple[str, str]) -> None:
    assert split_glob(path, lambda name: name.endswith("in[1]")) == split

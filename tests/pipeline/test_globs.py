from __future__ import annotations

import pytest

from pipeline.globs import may_match_below


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
        ("20??/*/[ab].pdf", "2024/q1/x", False),
    ],
)
def test_a_folder_is_looked_into_if_the_glob_can_match_below_it(pattern: str, folder: str, may: bool) -> None:
    assert may_match_below(pattern, folder) is may

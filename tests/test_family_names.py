"""A model family is known in its own modules: no other file of the packages names one."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

import pytest

from pipeline import families

ROOT = Path(__file__).parent.parent
# The embedded model is of a family.
MAY = ("glimpseprune/families/", "pipeline/families/", "pipeline/nano/")


def family_words() -> set[str]:
    """The names of families without their versions: ``qwen`` of ``qwen2_5_vl``."""
    names = (module.name for module in iter_modules(families.__path__))
    held = (name for name in names if hasattr(import_module(f"{families.__name__}.{name}"), "FAMILY"))
    return {word[0].lower() for word in (re.match(r"[a-zA-Z]{3,}", name) for name in held) if word}


def naming(package: str) -> list[str]:
    """Files of a package that name a family."""
    words = re.compile("|".join(family_words()), re.IGNORECASE)
    return sorted(
        str(path.relative_to(ROOT)) for path in (ROOT / package).rglob("*.py") if words.search(path.read_text())
    )


def test_the_words_are_those_of_the_families() -> None:
    assert {"qwen", "llava"} <= family_words()
    assert family_words().isdisjoint({"base", "registry"})


@pytest.mark.parametrize("package", ["glimpseprune", "pipeline", "jobs"])
def test_no_other_file_names_a_family(package: str) -> None:
    assert [name for name in naming(package) if not name.startswith(MAY)] == []


@pytest.mark.parametrize("package", ["glimpseprune", "pipeline"])
def test_every_family_has_its_modules_in_both_packages(package: str) -> None:
    stems = [path.stem for path in (ROOT / package / "families").glob("*.py")]
    assert all(any(stem.startswith(word) for stem in stems) for word in family_words())

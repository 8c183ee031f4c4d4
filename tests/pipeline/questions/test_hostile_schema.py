"""A schema that would stop the libraries which read it is refused with a sentence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import QuestionsError
from pipeline.questions.file import QuestionSet
from pipeline.questions.schema import load_schema


def load(tmp_path: Path, schema: object) -> QuestionSet:
    file = tmp_path / "schema.json"
    file.write_text(schema if isinstance(schema, str) else json.dumps(schema), encoding="utf-8")
    return load_schema(str(file))


def properties(**given: Any) -> dict[str, Any]:
    return {"type": "object", "properties": given}


DRAFT4 = "http://json-schema.org/draft-04/schema#"
ADDRESS = "$schema: expected the address of a dialect"


def nested(levels: int) -> dict[str, Any]:
    inner: dict[str, Any] = {"type": "string"}
    for _ in range(levels):
        inner = {"allOf": [inner]}
    return properties(a=inner)


@pytest.mark.parametrize(
    ("schema", "reason"),
    [
        ('{"type": "object", "maximum": ' + "1" * 5000 + "}", "holds a number of too many digits"),
        ({"$schema": "http://[", **properties(a={})}, ADDRESS),
        (
            {"$schema": 5, **properties(a={})},
            f"{ADDRESS}, such as https://json-schema.org/draft/2020-12/schema, found 5",
        ),
        ({"$schema": ["x"], **properties(a={})}, ADDRESS),
        ({"$schema": DRAFT4, **properties(a={"$ref": 5})}, "a: $ref: expected text, found 5"),
        (properties(a={"$ref": "#/properties/b/minimum/0"}, b={"minimum": 3}), "minimum/0 is not in the schema"),
        (properties(a={"$ref": "http://["}), "a: $ref: http://[ is not in the schema"),
        (nested(300), "is nested deeper than a schema can be"),
        (json.dumps({"title": [0] * 9000, **properties(a={})}), "$.title: is no JSON Schema: [0, 0"),
    ],
    ids=range(9),
)
def test_what_would_stop_a_library_is_a_sentence(tmp_path: Path, schema: object, reason: str) -> None:
    with pytest.raises(QuestionsError) as caught:
        load(tmp_path, schema)
    found = str(caught.value).removeprefix(str(tmp_path))
    assert reason in found
    assert len(found) < 700


def test_a_schema_may_be_nested_as_deep_as_anybody_needs(tmp_path: Path) -> None:
    (question,) = load(tmp_path, nested(30)).questions
    assert (question.id, question.type) == ("a", "text")

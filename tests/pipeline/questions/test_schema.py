"""A JSON Schema or a pydantic model becomes questions, or is refused with the name of what is not supported."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import QuestionsError
from pipeline.questions.file import Place, QuestionSet
from pipeline.questions.schema import load_schema

INVOICE: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "$defs": {
        "Party": {
            "type": "object",
            "title": "Party",
            "properties": {"name": {"type": "string"}, "vatId": {"type": ["string", "null"], "format": "vat"}},
            "required": ["name"],
        }
    },
    "type": "object",
    "x-docpipe": {"locale": "de_DE", "keep": {"min_tokens": 4}},
    "properties": {
        "invoiceNumber": {"type": "string", "title": "Invoice Number", "minLength": 3, "x-other": 1},
        "issued": {"type": "string", "format": "date", "description": "Date of issue"},
        "total": {
            "type": "number",
            "format": "money",
            "description": "How much is due?",
            "x-docpipe": {"pages": "-1", "aggregate": "max", "locale": "en_US", "keep": {"max_ratio": 0.5}},
        },
        "paid": {"type": "boolean"},
        "currency": {"enum": ["EUR", "USD", None]},
        "seller": {"$ref": "#/$defs/Party", "title": "Seller"},
        "quantities": {"type": "array", "items": {"type": "integer"}},
        "notes": {"description": "Anything in handwriting"},
    },
}


def load(tmp_path: Path, schema: object) -> QuestionSet:
    file = tmp_path / "invoice.json"
    file.write_text(schema if isinstance(schema, str) else json.dumps(schema), encoding="utf-8")
    return load_schema(str(file))


def properties(**given: Any) -> dict[str, Any]:
    return {"type": "object", "properties": given}


def refusal(tmp_path: Path, schema: object) -> str:
    with pytest.raises(QuestionsError) as caught:
        load(tmp_path, schema)
    return str(caught.value).removeprefix(f"{tmp_path}/invoice.json: ")


def test_a_schema_becomes_questions(tmp_path: Path) -> None:
    asked = load(tmp_path, INVOICE)
    found = {q.id: (q.text, q.type, q.locale) for q in asked.questions}
    assert found == {
        "invoice_number": ("What is the invoice number?", "text", "de_DE"),
        "issued": ("Date of issue", "date", "de_DE"),
        "total": ("How much is due?", "money", "en_US"),
        "paid": ("Paid: yes or no?", "boolean", "de_DE"),
        "currency": ("What is the currency?", "choice", "de_DE"),
        "seller_name": ("What is the seller name?", "text", "de_DE"),
        "seller_vat_id": ("What is the seller vat id?", "vat", "de_DE"),
        "quantities": ("What are the quantities?", "list", "de_DE"),
        "notes": ("Anything in handwriting", "text", "de_DE"),
    }
    by_id = {q.id: q for q in asked.questions}
    total = by_id["total"]
    assert (total.pages, total.aggregate) == ("-1", "max")
    assert total.keep is not None
    assert (total.keep.min_tokens, total.keep.max_ratio) == (4, 0.5)
    assert by_id["currency"].choices == ("EUR", "USD")
    assert "EUR, USD" in by_id["currency"].prompt or "{choices}" in by_id["currency"].prompt
    assert by_id["quantities"].items == "integer"
    assert asked.places["seller_vat_id"] == Place(path=("seller", "vatId"), kind="string")
    assert asked.places["quantities"] == Place(path=("quantities",), kind="array", items="integer")
    assert asked.places["total"].kind == "number"


def test_the_questions_survive_the_way_to_a_cluster(tmp_path: Path) -> None:
    asked = load(tmp_path, INVOICE)
    assert QuestionSet.model_validate_json(asked.model_dump_json()) == asked


MODEL = """
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import Enum
from typing import Optional
from typing_extensions import TypedDict
from pydantic import BaseModel, EmailStr, Field

class Kind(Enum):
    invoice = "invoice"
    reminder = "reminder"

class Party(BaseModel):
    name: str = Field(description="Full name")
    email: Optional[str] = Field(None, json_schema_extra={"format": "email"})

class Invoice(BaseModel):
    number: str
    issued: date | None = None
    total: Decimal = Field(json_schema_extra={"x-docpipe": {"type": "money"}})
    kind: Kind
    seller: Party
    buyer: Party | None = None
    tags: list[str] = []

@dataclass
class Note:
    text: str

class Tree(BaseModel):
    name: str
    child: Optional["Tree"] = None

class NotModel:
    text: str

class Tagged:
    pass

class Odd(BaseModel):
    model_config = {"arbitrary_types_allowed": True}
    tag: Tagged

@dataclass
class Held:
    tag: Tagged

class Typed(TypedDict):
    text: str

number = 3
"""


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "shop_models.py").write_text(MODEL)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "shop_models", raising=False)
    return tmp_path


def test_a_model_of_the_working_directory_becomes_questions(models: Path) -> None:
    before = list(sys.path)
    asked = load_schema("shop_models:Invoice")
    assert [(q.id, q.type) for q in asked.questions] == [
        ("number", "text"),
        ("issued", "date"),
        ("total", "money"),
        ("kind", "choice"),
        ("seller_name", "text"),
        ("seller_email", "email"),
        ("buyer_name", "text"),
        ("buyer_email", "email"),
        ("tags", "list"),
    ]
    texts = {q.id: q.text for q in asked.questions}
    assert (texts["number"], texts["buyer_name"]) == ("What is the number?", "buyer: Full name")
    assert sys.path == before
    for name in ("Note", "Typed"):
        assert [q.id for q in load_schema(f"shop_models:{name}").questions] == ["text"]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("no_such_module:Model", "cannot be imported: No module named 'no_such_module'"),
        ("shop_models:Nobody", "cannot be imported: module 'shop_models' has no attribute 'Nobody'"),
        ("shop_models:number", "expected a pydantic model or a dataclass, found 3"),
        (
            "shop_models:NotModel",
            "expected a pydantic model or a dataclass, found <class 'shop_models.NotModel'>; name",
        ),
        ("shop_models:Held", "has a field of the type shop_models.Tagged, which JSON Schema cannot say; expected text"),
        ("shop_models:Odd", "has a field of the type shop_models.Tagged, which JSON Schema cannot say; expected text"),
        ("shop_models:Tree", "refers to itself"),
    ],
)
def test_models_that_cannot_be_asked_for(models: Path, name: str, reason: str) -> None:
    with pytest.raises(QuestionsError) as caught:
        load_schema(name)
    assert reason in str(caught.value)
    assert str(caught.value).startswith(f"{name}: ")
    assert "pydantic.dev" not in str(caught.value)


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("raise RuntimeError('no\\ndatabase')", "cannot be imported: RuntimeError: no database; name a JSON Schema"),
        ("nothing", "cannot be imported: NameError: name 'nothing' is not defined; "),
        ("import sys; sys.exit(3)", "cannot be imported: SystemExit: 3; "),
        ("assert False", "cannot be imported: AssertionError: no message; "),
        ("def f(:", "cannot be imported: invalid syntax"),
        ("import sys; sys.path[:] = []; raise ValueError('x')", "cannot be imported: ValueError: x; "),
    ],
)
def test_a_module_that_raises_while_it_is_imported(
    models: Path, monkeypatch: pytest.MonkeyPatch, program: str, reason: str
) -> None:
    (models / "boom_models.py").write_text(program)
    monkeypatch.setattr(sys, "path", list(sys.path))
    with pytest.raises(QuestionsError) as caught:
        load_schema("boom_models:Model")
    assert str(caught.value).startswith(f"boom_models:Model: {reason}")
    assert "\n" not in str(caught.value)


def test_a_file_goes_before_a_model_of_the_same_name(models: Path) -> None:
    Path("shop_models:Invoice").write_text(json.dumps(properties(a={"type": "string"})))
    assert [q.id for q in load_schema("shop_models:Invoice").questions] == ["a"]


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"type": "array", "items": {"type": "object", "properties": {"a": {}}}}, "a: an array of objects"),
        ({"type": "array", "items": {"type": "array", "items": {}}}, "a: an array of arrays is not supported"),
        ({"type": "array", "items": {"enum": ["x", "y"]}}, "a: an array whose items have an enum is not supported"),
        ({"type": "array", "prefixItems": [{}]}, "a: prefixItems is not supported"),
        ({"type": "object", "additionalProperties": {"type": "number"}}, "a: additionalProperties: an object with any"),
        ({"type": "object", "additionalProperties": False}, "a: expected an object with properties"),
        ({"type": "object", "patternProperties": {"^x": {}}}, "a: patternProperties is not supported"),
        ({"oneOf": [{"type": "string"}, {"type": "object"}]}, "a: oneOf: expected one type, or one and null, found 2"),
        ({"allOf": [{"type": "string"}, {"maxLength": 3}]}, "a: allOf: expected one type"),
        ({"type": ["string", "integer"]}, "a: type: expected one type, or one and null, found string, integer"),
        ({"const": "x"}, "a: const is not supported"),
        ({"not": {"type": "string"}}, "a: not is not supported"),
        ({"type": "string", "format": "date-time"}, "a: format: date-time is not supported"),
        ({"type": "integer", "enum": [1, 2]}, "a: enum: expected texts"),
        ({"enum": ["one"]}, "a: choices: expected at least two choices"),
        ({"type": "null"}, "a: type: 'null' is not supported"),
        ({"$ref": "#/$defs/Nothing"}, "a: $ref: #/$defs/Nothing is not in the schema"),
        ({"$ref": "https://example.org/x.json"}, "only references inside of it are followed"),
        (True, "a: expected an object with type, title or description, found true"),
        ({"type": "string", "x-docpipe": {"page": "1"}}, "a: x-docpipe: unknown key 'page'; expected aggregate,"),
        ({"type": "string", "x-docpipe": {"pages": "0"}}, "a: pages: "),
        ({"type": "string", "x-docpipe": {"type": "number"}}, "a: a value of type number cannot stand in a string"),
        (
            {"type": "string", "x-docpipe": {"aggregate": "list"}},
            "a: aggregate: list makes a list of the values on all pages, which cannot stand in a property",
        ),
        ({"type": "number", "x-docpipe": {"aggregate": "all"}}, "a: aggregate: all makes all answers and no value"),
        ({"type": "array", "x-docpipe": {"aggregate": "list"}}, "cannot stand in a property of type array"),
        ({"x-docpipe": {"aggregate": "all"}, **properties(b={})}, "a.b: aggregate: all makes all answers"),
        ({"type": "string", "x-docpipe": {"aggregate": "sum"}}, "aggregate: sum needs type integer, number, money"),
        ({"type": "string", "x-docpipe": []}, "a: x-docpipe: expected an object with settings, found []"),
        ({"type": "string", "description": "x" * 5000}, "a: text: expected at most 4,000 characters"),
    ],
)
def test_what_is_not_supported_is_refused_by_name(tmp_path: Path, given: Any, reason: str) -> None:
    assert reason in refusal(tmp_path, properties(a=given))


def test_every_problem_is_told(tmp_path: Path) -> None:
    inner = properties(b={"const": 1}, c={"type": "string"})
    lines = refusal(tmp_path, properties(a={"const": 1}, d=inner)).splitlines()
    reason = 'const is not supported; leave the property out: "x-docpipe": {"ask": false}'
    assert [line.rpartition("json: ")[2] for line in lines] == [f"a: {reason}", f"d.b: {reason}"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "not valid JSON at line 1, column 1"),
        ('{"type": "object",\n "properties": {,}}', "invoice.json:2: not valid JSON at line 2"),
        ("[1]", "expected a JSON Schema, which is an object, found list"),
        ('{"type": "object", "type": "object"}', "'type' is given twice"),
        ('{"type": "obj", "properties": {}}', "$.type: is no JSON Schema: 'obj' is not valid"),
        ('{"type": "string"}', "schema: expected an object with properties, found type 'string'"),
        ('{"type": "object", "properties": {}}', "expected properties to ask for, found none"),
        ('{"properties": {"a": {"description": "\\ud800"}}}', "may not stand in a text"),
        ("[" * 100_000, "is nested deeper than a schema can be"),
    ],
)
def test_files_that_are_no_schema(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(QuestionsError) as caught:
        load(tmp_path, text)
    assert reason in str(caught.value)


def test_a_file_that_is_not_there_is_named() -> None:
    with pytest.raises(QuestionsError, match=r"nowhere\.json: cannot be read: .*; name a JSON Schema"):
        load_schema("nowhere.json")


def test_ids_are_made_of_any_name_or_have_to_be_given(tmp_path: Path) -> None:
    names = {"Größe (cm)": "grosse_cm", "IBANNumber": "iban_number", "a.b-c": "a_b_c", "x2Y": "x2_y"}
    asked = load(tmp_path, properties(**{name: {"type": "string"} for name in names}))
    assert {asked.places[q.id].path[0]: q.id for q in asked.questions} == names
    reason = "总额: expected a name with letters a-z or digits, of which an id can be made, found '总额'; "
    assert refusal(tmp_path, properties(总额={})) == reason + 'set one: "x-docpipe": {"id": ...}'
    named = properties(总额={"type": "string", "x-docpipe": {"id": "total"}})
    assert [q.id for q in load(tmp_path, named).questions] == ["total"]
    assert "has the id 'a_b', as has a_b" in refusal(tmp_path, properties(a_b={}, aB={}))


def test_a_property_may_be_left_out(tmp_path: Path) -> None:
    lines = {"type": "array", "items": {"type": "object"}, "x-docpipe": {"ask": False}}
    assert [q.id for q in load(tmp_path, properties(lines=lines, total={})).questions] == ["total"]
    assert "x-docpipe: unknown key 'ask'" in refusal(tmp_path, properties(a={"x-docpipe": {"ask": "no"}}))


def test_money_may_be_an_amount_or_an_object(tmp_path: Path) -> None:
    money = properties(amount={"type": "string"}, currency={"type": "string"}) | {"format": "money"}
    entries = {"type": "array", "items": {"type": "number", "format": "money"}}
    asked = load(tmp_path, properties(total=money, text={"type": "string", "format": "money"}, amounts=entries))
    assert [(q.id, q.type, q.items) for q in asked.questions] == [
        ("total", "money", None),
        ("text", "money", None),
        ("amounts", "list", "money"),
    ]
    kinds = [(place.kind, place.items) for place in asked.places.values()]
    assert kinds == [("object", None), ("string", None), ("array", "number")]


def test_references_with_an_id_and_a_draft_of_its_own(tmp_path: Path) -> None:
    schema = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "$id": "https://example.org/invoice.json",
        "definitions": {"Name": {"type": "string", "description": "A name"}},
        **properties(
            a={"$ref": "#/definitions/Name"}, b={"$ref": "https://example.org/invoice.json#/definitions/Name"}
        ),
    }
    assert [q.text for q in load(tmp_path, schema).questions] == ["A name", "A name"]

"""Writes the work of the benchmark: a model, pages as pixels, and the token ids of every question.

    python work.py nano FOLDER [--pages 40] [--questions 10] [--seed 9000]
    python work.py shape FOLDER [--pages 6] [--questions 10] [--tokens 1000] [--content noise|text]

``nano`` draws documents like those nano reads. ``shape`` makes the 0.12 B model of ``random_model.py`` with random
weights, for which every answer has exactly 16 tokens and 4 % of the visual tokens are kept; its pages are noise, which
has no blank paper, or pages of printed text.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pymupdf
import torch
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

sys.path.insert(0, str(Path(__file__).parents[1]))
from random_model import END, IMAGE, PAD, SHAPES, START, VIDEO, VOCAB, make_model

from glimpseprune.methods.glimpse.addon import save_addon
from pipeline.answering.checkpoints import default_dpi, resolve_addon, resolve_model
from pipeline.families.registry import find_family
from pipeline.pages.documents import list_documents
from pipeline.pages.renderer import RenderChild, decode_image
from pipeline.records import PageImage
from pipeline.samples.fields import FIELDS
from pipeline.samples.write import write_samples

_CELL = 28
_KEEP = 0.04
_ANSWER = 16
_QUESTION = 20
_SPECIAL = {START: "<|vision_start|>", END: "<|vision_end|>", IMAGE: "<|image_pad|>", VIDEO: "<|video_pad|>",
            PAD: "<|pad|>", VOCAB - 1: "<|unk|>"}  # fmt: skip


def nano_work(args: argparse.Namespace) -> dict[str, Any]:
    """Drawn documents, rendered as a run renders them, with the right answers."""
    model = resolve_model("nano")
    samples = write_samples(args.folder / "data", range(args.seed, args.seed + args.pages))
    fields = FIELDS[: args.questions]
    budget = find_family(model).read_budget(model, None)
    truths = {f"{s.seed:08d}.pdf": {f.key: f.value for f in s.fields} for s in samples}
    pages = []
    with RenderChild() as child:
        for document in list_documents((str(args.folder / "data" / "pdfs"),), None):
            (image,) = child.render(document, [1], default_dpi("nano"), budget)
            assert isinstance(image, PageImage)
            truth = truths[document.path]
            texts = [f"What is the {field.asks[0]}?" for field in fields]
            pages.append((decode_image(image), texts, [truth.get(field.key, "n/a") for field in fields]))
    return {"model": str(model), "glimpse": str(resolve_addon("nano")), "keep": None, "forced": False,
            "max_new_tokens": 32, "pages": pages}  # fmt: skip


def shape_work(args: argparse.Namespace) -> dict[str, Any]:
    """The model with random weights, and pages of a given number of visual tokens."""
    folder = args.folder.resolve() / "model"
    made = make_model(SHAPES["small"], torch.device("cpu"), torch.float32)
    made.base.save_pretrained(folder)  # type: ignore[operator]
    save_addon(made.method, folder / "glimpse")  # type: ignore[arg-type]
    _write_processor(folder)
    columns = round((args.tokens / 1.4) ** 0.5)
    rows = round(args.tokens / columns)
    noise, words = np.random.default_rng(args.seed), random.Random(args.seed)
    pages = []
    for number in range(args.pages):
        size = rows * _CELL, columns * _CELL, 3
        pixels = (
            noise.integers(0, 256, size, dtype=np.uint8) if args.content == "noise" else _printed(number, rows, columns)
        )
        texts = [" ".join(f"t{words.randrange(4000)}" for _ in range(_QUESTION)) for _ in range(args.questions)]
        pages.append((pixels, texts, [None] * args.questions))
    return {"model": str(folder), "glimpse": str(folder / "glimpse"), "keep": _KEEP, "forced": True,
            "max_new_tokens": _ANSWER, "pages": pages}  # fmt: skip


def _write_processor(folder: Path) -> None:
    """The tokenizer and the image settings of the random model, in files that vLLM reads too."""
    words = {_SPECIAL.get(i, f"t{i}"): i for i in range(VOCAB)}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<|unk|>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.add_special_tokens([AddedToken(text, special=True) for text in _SPECIAL.values()])
    images = [_SPECIAL[i] for i in (START, END, IMAGE, VIDEO)]
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<|pad|>", unk_token="<|unk|>", additional_special_tokens=images
    ).save_pretrained(folder)
    nano = resolve_model("nano")
    settings = json.loads((nano / "preprocessor_config.json").read_text())
    settings["size"]["longest_edge"] = _CELL * _CELL * 8000
    (folder / "preprocessor_config.json").write_text(json.dumps(settings))
    (folder / "chat_template.jinja").write_text((nano / "chat_template.jinja").read_text())


def _printed(number: int, rows: int, columns: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """A page of printed text, in paragraphs and a table, drawn at the size of a grid of visual tokens.

    It leaves as much blank as the pages of manuals do: of 30 such pages of Debian's packages, ``--drop-blank`` shows
    55 % at 1,000 visual tokens and 43 % at 5,000.
    """
    from faker import Faker

    faker, page_random = Faker(), random.Random(number)
    faker.seed_instance(number)
    with pymupdf.open() as document:
        page = document.new_page(width=595, height=595 * rows / columns)
        cells = "".join(
            f"<tr><td>{faker.bs()}</td><td>{faker.pyint()}</td><td>{faker.pricetag()}</td></tr>" for _ in range(6)
        )
        body = [f"<p>{faker.paragraph(page_random.randint(3, 6))}</p>" for _ in range(page_random.randint(9, 11))]
        middle = len(body) // 2
        html = f"<h2>{faker.catch_phrase()}</h2>{''.join(body[:middle])}<table>{cells}</table>{''.join(body[middle:])}"
        css = "* {font-size: 10.5pt; line-height: 1.35} h2 {font-size: 15pt} p {margin: 10pt 0} td {padding: 4pt 14pt}"
        page.insert_htmlbox(page.rect + (78, 72, -78, -72), html, css=css, scale_low=0.8)
        zoom = columns * _CELL / page.rect.width
        picture = page.get_pixmap(matrix=pymupdf.Matrix(zoom, zoom))
        pixels = np.frombuffer(picture.samples, np.uint8).reshape(picture.height, picture.width, 3)
    full = np.full((rows * _CELL, columns * _CELL, 3), 255, np.uint8)
    height, width = min(full.shape[0], pixels.shape[0]), min(full.shape[1], pixels.shape[1])
    full[:height, :width] = pixels[:height, :width]
    return full


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=["nano", "shape"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--pages", type=int, default=6)
    parser.add_argument("--questions", type=int, default=10)
    parser.add_argument("--tokens", type=int, default=1000)
    parser.add_argument("--content", choices=["noise", "text"], default="noise")
    parser.add_argument("--seed", type=int, default=9000)
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    work = nano_work(args) if args.kind == "nano" else shape_work(args)
    family = find_family(Path(work["model"])).load_input(Path(work["model"]))
    pages = []
    for number, (pixels, texts, truth) in enumerate(work["pages"]):
        np.save(args.folder / f"{number}.npy", pixels)
        image = family.prepare(pixels)
        rows, columns = family.token_grid(image)
        ids = [family.prompt(text, image.grid).tolist() for text in texts]
        pages.append(
            {"pixels": f"{number}.npy", "visual_tokens": rows * columns, "texts": texts, "truth": truth, "ids": ids}
        )
    work |= {"pages": pages, "image_token": family.image_token_id}
    (args.folder / "work.json").write_text(json.dumps(work))


if __name__ == "__main__":
    main()

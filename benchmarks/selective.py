"""Long answers: tokens that are dropped for good, beside a whole cache of which each decoding step sees few tokens.

    python benchmarks/selective.py --out DIR [--pages 10] [--seed 52001]
    python benchmarks/selective.py

Asks nano about drawn pages that it never saw, for the values of at least twelve characters, which are its tokens; and
about pages whose values are lists in one line, longer than any that it was taught. Every question is answered with the
whole cache (dense); with the tokens evicted that the add-on drops, by its own rule and with a cap of 5.6 %; and with
the whole cache, of which a step sees the text, the tokens that the add-on keeps, and none, 16 or 64 of the others:
those to which the step's own queries give most attention, in each layer, exactly.

Without a folder it times the attention of one layer at the 7B's shape instead, in bfloat16, without the model.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from rapidfuzz.distance import Levenshtein
from torch import Tensor

import glimpseprune as gp
from glimpseprune.decode.cache import PrefillCache
from glimpseprune.decode.log_cache import LogCache
from glimpseprune.families.base import Attend, Cache, CacheGroup, Prompt, run_layers
from glimpseprune.generation import prefill_alone
from jobs.model_choice import ModelChoice
from jobs.run.prepare import answer_settings
from pipeline.answering.page_answerer import PageAnswerer
from pipeline.evaluation.metrics import anls, exact_match
from pipeline.pages.renderer import RenderChild, decode_image
from pipeline.questions.question import DEFAULT_PROMPT
from pipeline.records import AnswerSettings, Ask, Document, PageImage
from pipeline.samples import Sample, ask, make_sample
from pipeline.samples.document import FieldTruth
from pipeline.samples.families import FAMILIES
from pipeline.samples.fields import FIELDS
from pipeline.samples.held_out_words import HELD_OUT_WORDS
from pipeline.samples.layout import draw_style, place_fields, place_title
from pipeline.samples.open_values import KIND_OF_FIELD, draw_value
from pipeline.samples.write import pick_seeds

FURTHER = (0, 16, 64)  # tokens besides those that the add-on keeps
GROUPS = ((12, 17), (18, 26), (27, 50))  # characters of an answer; training drew none longer than 26
LISTS = GROUPS[-1]
CAPS = (None, 0.056)
SIZE_PT = (448.0, 280.0)
LIMIT = 64


class Chosen(CacheGroup):
    """Shows each step, in each layer, some slots of a whole cache and the others that it gives most attention."""

    log: LogCache
    always: Tensor  # slots that are always seen, bool [S]
    further: int
    seen: list[int]  # number of slots, layer by layer

    def __init__(self, log: LogCache, always: Tensor, further: int) -> None:
        super().__init__([log], [1], [])
        for name, value in (("log", log), ("always", always), ("further", further), ("seen", [])):
            object.__setattr__(self, name, value)  # the group is frozen

    def attend(self, layer: int, queries: Tensor, both: Tensor, attend: Attend) -> Tensor:
        keys, values = self.log.append(both, layer)
        slots = keys.shape[2]
        sure = F.pad(self.always, (0, slots - len(self.always)), value=True)  # all new tokens
        if self.further:
            sure = sure.index_fill(0, most_attended(queries, keys, sure, self.further), True)
        index = sure.nonzero()[:, 0]
        self.seen.append(len(index))
        return attend(queries, keys.index_select(2, index), values.index_select(2, index), None)  # type: ignore[arg-type]


def most_attended(queries: Tensor, keys: Tensor, sure: Tensor, count: int) -> Tensor:
    """Slots that get the largest share of attention, on average over heads, among those that are not sure."""
    grouped = queries.view(1, keys.shape[1], -1, queries.shape[-1]) * queries.shape[-1] ** -0.5
    shares = (grouped @ keys.transpose(2, 3)).float().softmax(-1).sum((0, 1, 2))
    return shares.masked_fill(sure, -1.0).topk(min(count, int((~sure).sum()))).indices


@dataclass
class Answer:
    text: str
    seconds: list[float]  # of each step
    attended: float  # tokens per step and layer


def decode(answerer: PageAnswerer, start: gp.Prefilled, cache: Cache | CacheGroup, log: LogCache) -> Answer:
    backbone, ends = answerer.model.backbone, answerer.model.eos_token_ids
    tokens, seconds, seen = [int(start.logits.argmax())], list[float](), 0
    while tokens[-1] not in ends and len(tokens) < LIMIT:
        began = time.perf_counter()
        hidden = backbone.embed_tokens(torch.tensor([[tokens[-1]]]))
        position = torch.tensor([[start.next_position + len(tokens) - 1]])
        rotary = backbone.rotary(position.expand(backbone.rotary_axes, 1, -1))
        hidden = run_layers(backbone, range(backbone.num_layers), hidden, rotary, cache)
        tokens.append(int(backbone.logits(hidden[:, -1]).argmax()))
        log.advance(1)
        seconds.append(time.perf_counter() - began)
        seen += log.end * backbone.num_layers
    seen = sum(cache.seen) if isinstance(cache, Chosen) else seen
    text = answerer.processor.text(torch.tensor(tokens))
    return Answer(text, seconds, seen / max(1, len(seconds)) / backbone.num_layers)


def as_log(cache: PrefillCache) -> LogCache:
    log = LogCache(cache.tokens, cache.tokens + LIMIT, cache.keys[0].device)
    for layer, (keys, values) in enumerate(zip(cache.keys, cache.values, strict=True)):
        log.update(keys, values, layer)
    log.advance(cache.tokens)
    return log


def ways(
    answerer: PageAnswerer, page: gp.EncodedPage, prompt: Prompt, rule: gp.KeepRule
) -> Iterator[tuple[str, Answer]]:
    whole, _ = prefill_alone(answerer.model, prompt, page.images, None)
    runs: dict[str, Callable[[], Answer]] = {"dense": partial(from_log, answerer, whole)}
    for cap in CAPS:
        pruned, _ = prefill_alone(answerer.model, prompt, page.images, replace(rule, max_ratio=cap))
        always = torch.ones(whole.cache.tokens, dtype=torch.bool)
        always[torch.cat(prompt.image_slots)] = pruned.keep
        runs[way("evicted", cap)] = partial(from_log, answerer, pruned)
        for further in FURTHER:
            runs[way(f"glimpse + {further}", cap)] = partial(from_log, answerer, whole, always, further)
    for name in random.sample(list(runs), len(runs)):  # in turns, so that other programs slow all alike
        yield name, runs[name]()


def way(name: str, cap: float | None) -> str:
    return name if cap is None else f"{name}, cap {cap:.1%}"


def from_log(answerer: PageAnswerer, start: gp.Prefilled, always: Tensor | None = None, further: int = 0) -> Answer:
    log = as_log(start.cache)
    return decode(answerer, start, log if always is None else Chosen(log, always, further), log)


def drawn(seed: int, pages: int) -> Iterator[Sample]:
    for number, name in enumerate(("known", "open")):
        family = replace(FAMILIES[name], min_fields=5, max_fields=8, max_cells=560)
        yield from (make_sample(one, family) for one in pick_seeds(seed + number, pages))
    yield from (long_page(one) for one in pick_seeds(seed + 2, pages // 2))


def long_page(seed: int) -> Sample:
    rng = random.Random(seed)
    while True:
        style = draw_style(rng, ("helv", "tiro", "cour"), 1)
        fields = rng.sample(FIELDS, rng.randint(3, 4))
        values = [(field, long_value(rng, KIND_OF_FIELD[field.key], *LISTS)) for field in fields]
        runs = place_title(rng, ("helv", "tiro", "cour"), 20.0, SIZE_PT[0] - 30)
        placed = place_fields(rng, style, values, 20.0, runs[-1].y + 30, SIZE_PT[0] - 24)
        if placed is None or placed[1] > SIZE_PT[1] - 10:
            continue
        runs += placed[0]
        boxes = {run.role: run.box for run in runs}
        truths = tuple(
            FieldTruth(field.key, field.label, value, boxes[f"label:{field.key}"], boxes[f"value:{field.key}"])
            for field, value in values
        )
        return Sample(seed, *SIZE_PT, tuple(runs), truths, has_table=False)


def long_value(rng: random.Random, kind: str, low: int, high: int) -> str:
    while True:
        value = draw_value(rng, kind, HELD_OUT_WORDS)
        while len(value) < low:
            value += ", " + draw_value(rng, kind, HELD_OUT_WORDS)
        if len(value) <= high:
            return value


def characters_right(said: str, true: str) -> float:
    return float(Levenshtein.normalized_similarity(said, true))


def measure(
    answerer: PageAnswerer, child: RenderChild, settings: AnswerSettings, folder: Path, sample: Sample
) -> Iterator[tuple[str, str, Answer]]:
    path = folder / f"{sample.seed}.pdf"
    path.write_bytes(sample.pdf())
    (image,) = child.render(Document(str(path), path.name, str(path), 0, ""), [1], settings.dpi, settings.budget)
    assert isinstance(image, PageImage), image
    asked = [question for question in ask(sample, sample.seed, 0) if len(question.answer) >= GROUPS[0][0]]
    if not asked:
        return
    prompts = [DEFAULT_PROMPT.format(text=question.text) for question in asked]
    asks = [Ask(str(number), prompt, "text", LIMIT, settings.rule) for number, prompt in enumerate(prompts)]
    prepared = answerer.prepare(decode_image(image), asks)
    page = answerer.prefiller.read(prepared, [settings.rule] * len(asks))
    tails = [prompt[page.prefix_ids.numel() :] for prompt in prepared.prompts]
    assert settings.rule is not None
    for question, prompt in zip(asked, page.prompts(tails), strict=True):
        for name, answer in ways(answerer, page, prompt, settings.rule):
            yield name, question.answer, answer


def summary(found: Sequence[tuple[str, str, Answer]]) -> str:
    lines = [
        "| way | length | answers | exact | ANLS | characters right | tokens attended | ms per step |",
        f"|{' --- |' * 8}",
    ]
    groups: dict[tuple[str, tuple[int, int]], list[tuple[str, Answer]]] = defaultdict(list)
    for name, truth, answer in found:
        group = next(one for one in GROUPS if one[0] <= len(truth) <= one[1])
        groups[name, group].append((truth, answer))
    several = ["evicted", *(f"glimpse + {further}" for further in FURTHER)]
    names = ["dense", *(way(name, cap) for cap in CAPS for name in several)]
    for name in names:
        for low, high in GROUPS:
            mine = groups[name, (low, high)]
            if not mine:
                continue
            exact = statistics.fmean(exact_match(answer.text, [truth]) for truth, answer in mine)
            mean = statistics.fmean(anls(answer.text, [truth]) for truth, answer in mine)
            right = statistics.fmean(characters_right(answer.text, truth) for truth, answer in mine)
            attended = statistics.fmean(answer.attended for _, answer in mine)
            step = statistics.median(second for _, answer in mine for second in answer.seconds)
            cells = (f"{low}-{high}", str(len(mine)), f"{exact:.3f}", f"{mean:.3f}", f"{right:.3f}", f"{attended:.0f}")
            lines.append(f"| {name} | {' | '.join(cells)} | {step * 1e3:.2f} |")
    return "\n".join(lines)


def time_attention() -> None:
    """Attention of one decoding step in one layer of the 7B (28 heads, 4 of keys and values, 128 wide)."""
    torch.manual_seed(0)
    queries = torch.randn(1, 1, 28, 128, dtype=torch.bfloat16)
    print("| slots | dense, ms | evicted, ms | glimpse + 64, ms |\n| --- | --- | --- | --- |")
    for slots in (1_000, 5_000, 11_000):
        keys, values = torch.randn(1, 8, slots, 128, dtype=torch.bfloat16).chunk(2, dim=1)
        sure = torch.rand(slots) < 0.1
        few = keys[:, :, sure].contiguous(), values[:, :, sure].contiguous()
        runs = (
            partial(attended, queries, keys, values),
            partial(attended, queries, *few),
            partial(selected, queries, keys, values, sure),
        )
        print(f"| {slots:,} | {' | '.join(f'{_milliseconds(run):.3f}' for run in runs)} |")


def attended(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    return F.scaled_dot_product_attention(queries.view(1, keys.shape[1], -1, queries.shape[-1]), keys, values)


def selected(queries: Tensor, keys: Tensor, values: Tensor, sure: Tensor) -> Tensor:
    index = sure.index_fill(0, most_attended(queries, keys, sure, 64), True).nonzero()[:, 0]
    return attended(queries, keys.index_select(2, index), values.index_select(2, index))


def _milliseconds(run: Callable[[], Tensor], times: int = 60) -> float:
    found = []
    for _ in range(times):
        began = time.perf_counter()
        run()
        found.append((time.perf_counter() - began) * 1e3)
    return statistics.median(found)


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--pages", type=int, default=10, help="of each family, and half as many of lists")
    parser.add_argument("--seed", type=int, default=52001)
    given = parser.parse_args()
    if given.out is None:
        time_attention()
        return
    given.out.mkdir(parents=True, exist_ok=True)
    choice = ModelChoice(drop_blank=False, dtype="float32", device="cpu")
    settings = answer_settings(choice, 0)
    answerer = PageAnswerer.load(choice.model, settings.glimpse, "cpu", "float32", "auto", 0)
    answerer.drop_blank = False
    assert answerer.model.repetition_penalty == 1.0
    random.seed(given.seed)
    found: list[tuple[str, str, Answer]] = []
    with RenderChild() as child:
        for sample in drawn(given.seed, given.pages):
            found += measure(answerer, child, settings, given.out, sample)
            print(sample.seed, flush=True)
    text = summary(found)
    (given.out / "selective.md").write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()

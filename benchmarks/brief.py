"""What asking for a brief answer is worth: the same questions with the words that ask for one, and without.

    docpipe samples --out held-out --family known --documents 10 --seed 61001
    python benchmarks/brief.py --data held-out [--pages 10] [--model nano] [--glimpse ADDON] [--device auto]

Every page is asked with each prompt, unpruned and pruned. "Prompt tokens" is the mean number of tokens of a prompt that
are no visual ones: where two prompts have as many, the model's chat template hands on the same. A real model gets every
word; nano's template hands on the first line alone, so that words have to stand there to reach it.
"""

from __future__ import annotations

import argparse
from itertools import islice
from statistics import fmean

from jobs.model_choice import ModelChoice
from jobs.run.prepare import answer_settings
from pipeline.answering.page_answerer import PageAnswerer
from pipeline.datasets.example import by_page
from pipeline.datasets.load import load_examples
from pipeline.datasets.page_images import PageImages
from pipeline.evaluation.evaluate import Measured, measure_page
from pipeline.evaluation.modes import Mode
from pipeline.evaluation.score_table import scores
from pipeline.pages.renderer import RenderChild
from pipeline.questions.question import DEFAULT_PROMPT

PROMPTS = {
    "brief, or n/a (the default)": DEFAULT_PROMPT,
    "n/a alone": "{text}\nIf the page does not say, answer n/a.",
    "brief": "{text}\nAnswer with a single word or phrase.",
    "neither": "{text}",
    "brief, in the first line": "{text} Answer with a single word or phrase.",
}
MODES: tuple[Mode, ...] = ("off", "glimpse")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--pages", type=int)
    parser.add_argument("--model", default="nano")
    parser.add_argument("--glimpse")
    parser.add_argument("--device", default="auto")
    given = parser.parse_args()
    choice = ModelChoice(model=given.model, glimpse=given.glimpse, device=given.device)
    settings = answer_settings(choice, 0)
    answerer = PageAnswerer.load(
        choice.model, settings.glimpse, choice.device, choice.dtype, choice.attn, 0, choice.revision
    )
    answerer.drop_blank = settings.drop_blank
    modes = MODES if settings.rule is not None else MODES[:1]
    rows: dict[str, list[Measured]] = {name: [] for name in PROMPTS}
    lengths: dict[str, list[int]] = {name: [] for name in PROMPTS}
    with RenderChild() as child:
        images = PageImages(child, settings.dpi, settings.budget)
        for number, examples in enumerate(islice(by_page(load_examples(given.data)), given.pages)):
            page = images.rendered(examples[0])
            for name, prompt in PROMPTS.items():
                rows[name] += measure_page(answerer, page, examples, modes, settings.rule, number, prompt, 64)
                lengths[name] += [_length(answerer, prompt.format(text=example.question)) for example in examples]
            print(number + 1, flush=True)
    print("| prompt | prompt tokens | mode | questions | exact | ANLS | tokens of an answer | tokens kept |")
    print(f"|{' --- |' * 8}")
    for name, mine in rows.items():
        for score in scores(mine):
            answers = fmean(row.new_tokens or 0 for row in mine if row.mode == score.mode)
            cells = (name, f"{fmean(lengths[name]):.1f}", score.mode, str(score.questions), f"{score.exact:.3f}")
            print(f"| {' | '.join(cells)} | {score.anls:.3f} | {answers:.1f} | {score.retention_mean:.1%} |")


def _length(answerer: PageAnswerer, text: str) -> int:
    prompt = answerer.processor.prompt(text, (4, 4))
    return int((prompt != answerer.processor.image_token_id).sum())


if __name__ == "__main__":
    main()

"""Declares the options that several commands share, in the groups in which help shows them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

REQUIRED = "Required, here or in --config"
MODEL, PRUNING, PAGES = "Model", "Pruning", "Pages"
CLUSTER, RUN, DATA = "Engine and cluster", "Run", "Data"


def example(command: str) -> str:
    """Write the example that ends the help of a command.

    Args:
        command: words after ``docpipe``.
    """
    return f"Example: docpipe {command}"


def option(group: str, help: str, *names: str, default: str | bool = True, **bounds: Any) -> Any:
    """Declare an option of a group.

    Args:
        group: heading above the option in the help.
        help: one line about it.
        *names: its names, where they do not follow from the parameter.
        default: what holds if it is not given, where the parameter's default does not say so.
        **bounds: ``min`` and ``max`` of a number that no settings check.
    """
    return typer.Option(*names, help=help, rich_help_panel=group, show_default=default, **bounds)


Input = Annotated[
    list[str] | None,
    option(REQUIRED, "Folder, glob, file or URI; may be given several times.", "--input", "-i", default=False),
]
Questions = Annotated[str | None, option(REQUIRED, "YAML file with the questions.", "--questions", "-q", default=False)]
Schema = Annotated[
    str | None,
    option(
        REQUIRED, "JSON Schema, or pydantic model as module:Model, in place of --questions.", "--schema", default=False
    ),
]
OutputFolder = Annotated[
    str | None, option(REQUIRED, "Folder or URI, outside of the input.", "--output", "-o", default=False)
]
Config = Annotated[
    Path | None, option(RUN, "TOML file with any of these options, which flags override.", default="no file")
]
Limit = Annotated[int | None, option(RUN, "Read at most this many documents.", default="all")]
PasswordFile = Annotated[
    str | None, option(RUN, "YAML file: document glob to {env: NAME} or {file: PATH}.", default="no passwords")
]

Model = Annotated[str | None, option(MODEL, "nano (the embedded model), a folder or a hub id.", default="nano")]
Glimpse = Annotated[
    str | None, option(MODEL, "Add-on for pruning: folder or hub id.", default="nano's own for nano, else none")
]
Revision = Annotated[str | None, option(MODEL, "Branch, tag or commit of --model on the hub.", default="main branch")]
Device = Annotated[str | None, option(MODEL, "auto (a GPU if there is one), cpu, cuda or cuda:N.", default="auto")]
Dtype = Annotated[str | None, option(MODEL, "auto, float32, bfloat16 or float16.", default="auto")]
Attn = Annotated[
    str | None, option(MODEL, "Attention of the vision tower: auto, sdpa or flash_attention_2.", default="auto")
]
RepetitionPenalty = Annotated[
    float | None,
    option(MODEL, "Divide the logits of tokens that came before by this; 1 for none.", default="the checkpoint's"),
]
Prompt = Annotated[
    str | None,
    option(MODEL, "Words for the model, with {text} in them, where a question sets none.", default="word or phrase"),
]
MaxNewTokens = Annotated[
    int | None, option(MODEL, "Longest answer, where a question sets none.", default="64, or 32 on data sets")
]
Preset = Annotated[
    str | None, option(MODEL, "published: settings of the article, for flags that are not given.", default="none")
]

Prune = Annotated[
    str | None, option(PRUNING, "glimpse, auto (where it is cheaper) or off.", default="glimpse with an add-on")
]
Fallback = Annotated[
    str | None, option(PRUNING, "dense asks doubtful or page-wide questions again, unpruned.", default="off")
]
LookAgain = Annotated[
    float | None,
    option(MODEL, "Ask less sure answers again on the page at another size, 0 never.", default="0.98 for nano, else 0"),
]
DropBlank = Annotated[
    bool | None,
    option(PRUNING, "Hide blank paper from the model.", "--drop-blank/--no-drop-blank", default="only for nano"),
]
Threshold = Annotated[
    float | None, option(PRUNING, "Keep tokens with a higher sigmoid(score).", default="add-on's own")
]
MaxRatio = Annotated[
    float | None, option(PRUNING, "Keep at most this share of an image's tokens.", default="add-on's own")
]
MinTokens = Annotated[
    int | None, option(PRUNING, "Keep at least this many tokens of an image.", default="add-on's own")
]

Dpi = Annotated[int | None, option(PAGES, "Dots per inch of the pages.", default="200, or 144 for nano")]
MaxVisualTokens = Annotated[int | None, option(PAGES, "Most visual tokens per page.", default="the model's limit")]

Out = Annotated[str, typer.Argument(help="Output folder of a run, path or URI.", show_default=False)]
Data = Annotated[
    str,
    option(
        DATA,
        "Folder of `docpipe samples`, corrected --output of a run, Visual-CoT .jsonl or .json, or DocVQA .json.",
        default=False,
    ),
]
Calibration = Annotated[
    str | None,
    option(MODEL, "File of `docpipe calibrate`.", default="the one beside the add-on or model"),
]
SkipBelow = Annotated[
    float | None,
    option(
        RUN,
        "Leave a page out of a question whose answer it holds with a lower probability (0 to 1).",
        default="no page is left out",
    ),
]
Ocr = Annotated[
    bool | None,
    option(PAGES, "Read pages without a text layer by OCR, for evidence and on_page.", "--ocr", default="off"),
]
Images = Annotated[
    str | None,
    option(DATA, "Folder of the images that a file names, or of a run's documents.", default="where they were"),
]
Job = Annotated[str, typer.Argument(help="Job id that `docpipe run --detach` printed.")]
ClusterAddress = Annotated[str, typer.Option("--address", help="Address of the cluster: http://head:8265, or auto.")]

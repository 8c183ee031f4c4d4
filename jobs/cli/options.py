"""Declares the options that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

Input = Annotated[
    list[str] | None,
    typer.Option("--input", "-i", help="Folder, glob, file or URI; may be given several times.", show_default=False),
]
Questions = Annotated[str | None, typer.Option("--questions", "-q", help="YAML file.", show_default=False)]
OutputFolder = Annotated[str | None, typer.Option("--output", "-o", help="Folder or URI.", show_default=False)]
Limit = Annotated[int | None, typer.Option(help="Read at most this many documents.", show_default=False)]
PasswordFile = Annotated[
    str | None, typer.Option(help="YAML file: document glob to {env: NAME} or {file: PATH}.", show_default=False)
]
DocumentSeconds = Annotated[
    float | None, typer.Option(help="Most seconds to render one document; 3600 by default.", show_default=False)
]

Model = Annotated[str | None, typer.Option(help="nano (default), a folder or a hub id.", show_default=False)]
Glimpse = Annotated[str | None, typer.Option(help="Add-on: folder or hub id.", show_default=False)]
Revision = Annotated[str | None, typer.Option(help="Branch, tag or commit of --model on the hub.", show_default=False)]
Prune = Annotated[
    str | None,
    typer.Option(help="glimpse (default with an add-on), auto (where it is cheaper) or off.", show_default=False),
]
DropBlank = Annotated[bool | None, typer.Option("--drop-blank", help="Hide blank paper from the model.")]
Threshold = Annotated[
    float | None, typer.Option(help="Keep tokens with a higher sigmoid(score); add-on's own by default.")
]
MaxRatio = Annotated[float | None, typer.Option(help="Keep at most this share of an image's tokens.")]
MinTokens = Annotated[int | None, typer.Option(help="Keep at least this many tokens of an image.")]
Dpi = Annotated[
    int | None, typer.Option(help="Dots per inch of the pages; 200 by default, 144 for nano.", show_default=False)
]
MaxVisualTokens = Annotated[
    int | None, typer.Option(help="Most visual tokens per page; the model's own limit by default.")
]
Device = Annotated[str | None, typer.Option(help="auto (default), cpu or cuda.", show_default=False)]
Dtype = Annotated[str | None, typer.Option(help="auto (default), float32, bfloat16 or float16.", show_default=False)]
Attn = Annotated[str | None, typer.Option(help="auto (default), sdpa or flash_attention_2.", show_default=False)]

Data = Annotated[str, typer.Option(help="Folder made by `docpipe samples`, Visual-CoT .jsonl, or DocVQA .json.")]
Images = Annotated[str | None, typer.Option(help="Folder of the images named in a .json or .jsonl file.")]
Job = Annotated[str, typer.Argument(help="Job id that `docpipe run --detach` printed.")]
ClusterAddress = Annotated[str, typer.Option("--address", help="Address of the cluster: http://head:8265, or auto.")]

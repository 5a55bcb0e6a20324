"""Options that several commands have: which model, how it samples, how much is said."""

from __future__ import annotations

from typing import Annotated, TypeAlias

import typer

MODEL, SAMPLING, WORKERS, JUDGE = "Model", "Sampling", "Workers", "Judge"

CONCURRENCY = 4
"""Calls of a judge on their way at once, where nothing else is said."""

ModelName: TypeAlias = Annotated[
    str,
    typer.Option(
        "--model", "-m", help="A name (see bytheway models), hub id, folder or checkpoint file.", rich_help_panel=MODEL
    ),
]
MotionAdapter: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="NAME", help="Motion modules for an image model: hub id, folder or file.", rich_help_panel=MODEL
    ),
]
Loras: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--lora", metavar="NAME[=WEIGHT]", help="A LoRA: hub id, folder or file. Repeatable.", rich_help_panel=MODEL
    ),
]
ModelDevice: TypeAlias = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="cpu, cuda, cuda:1, mps. Default: the fastest one.", rich_help_panel=MODEL),
]
Dtype: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="float32, float16 or bfloat16. Default: float16 on CUDA, float32 elsewhere.",
        rich_help_panel=MODEL,
    ),
]
BatchSize: TypeAlias = Annotated[
    int,
    typer.Option(metavar="N", help="Clips made at once; each needs memory of its own.", rich_help_panel=SAMPLING),
]
Steps: TypeAlias = Annotated[
    int | None,
    typer.Option(metavar="N", help="Denoising steps.", rich_help_panel=SAMPLING, show_default="the model's"),
]
GuidanceScale: TypeAlias = Annotated[
    float | None,
    typer.Option(metavar="X", help="Of the prompt; 1 is none.", rich_help_panel=SAMPLING, show_default="the model's"),
]
NegativePrompt: TypeAlias = Annotated[
    str | None, typer.Option(metavar="TEXT", help="What the clip shall not show.", rich_help_panel=SAMPLING)
]
NumFrames: TypeAlias = Annotated[
    int | None,
    typer.Option(
        "--frames", metavar="N", help="Frames of a clip.", rich_help_panel=SAMPLING, show_default="the model's"
    ),
]
Size: TypeAlias = Annotated[
    str | None,
    typer.Option(metavar="WxH", help="In pixels.", rich_help_panel=SAMPLING, show_default="the model's"),
]
JudgeEndpoint: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--endpoint",
        metavar="URL",
        envvar="OPENAI_BASE_URL",
        help="A server of OpenAI's chat shape, such as http://localhost:8000/v1 (vLLM, llama.cpp, Ollama, "
        "transformers serve). A key is read from OPENAI_API_KEY.",
        show_default="OpenAI's",
        rich_help_panel=JUDGE,
    ),
]
Quiet: TypeAlias = Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but warnings and errors.")]
Workers: TypeAlias = Annotated[
    int | None,
    typer.Option(
        min=1,
        metavar="N",
        help="Processes that make clips, started by Ray. Default: this process alone; with --address as many as there "
        "is room for.",
        rich_help_panel=WORKERS,
    ),
]
Address: TypeAlias = Annotated[
    str | None, typer.Option(metavar="ADDRESS", help="Of a Ray cluster, or auto.", rich_help_panel=WORKERS)
]

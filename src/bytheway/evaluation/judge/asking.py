"""A question about two clips as a request of OpenAI's chat shape, and the answer that a reply holds.

A request is blind: it holds frames as pixels and the description that both clips were made from, and nothing of arms,
files or settings. What is hashed and kept of it has the SHA-256 of each image's pixels where the image itself is sent.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias, get_args

import numpy as np
from PIL import Image

from bytheway.clips.read import load_video
from bytheway.evaluation.questions import Question

Detail: TypeAlias = Literal["low", "high", "auto"]
"""How finely a model looks at an image, where it offers the choice."""
Answer: TypeAlias = Literal["A", "B", "tie"]

LONGEST_SIDE: Final[Mapping[Detail, int]] = {
    "low": 512,
    "high": 2048,
    "auto": 2048,
}  # pixels; models shrink what is more
QUALITY: Final = 90  # of the JPEG files
SCHEMA: Final = {
    "type": "object",
    "properties": {"reason": {"type": "string"}, "answer": {"type": "string", "enum": list(get_args(Answer))}},
    "required": ["reason", "answer"],
    "additionalProperties": False,
}
_FORMAT: Final = {
    "type": "json_schema",
    "json_schema": {"name": "answer", "strict": True, "schema": SCHEMA},
}
_FENCED: Final = re.compile(r"```(?:json)?\s*(.*?)\s*```", re.DOTALL)


@dataclass(frozen=True)
class ClipShape:
    """Frames, sides in pixels and frames a second of a clip, which those of a pair have in common."""

    num_frames: int
    height: int
    width: int
    fps: float

    def __str__(self) -> str:
        return f"{self.num_frames} frames of {self.width}x{self.height} pixels, {self.fps:.4g} a second"


@dataclass(frozen=True)
class Shown:
    """What a judge is shown of a clip.

    Attributes:
        images: JPEG files as data URLs by the SHA-256 of their pixels; equal frames share one.
        order: the hashes of the frames, in order.
        size: width and height of the images in pixels.
        clip: of which they are.
    """

    images: Mapping[str, str]
    order: tuple[str, ...]
    size: tuple[int, int]
    clip: ClipShape


def show(path: Path, frames: int, detail: Detail) -> Shown:
    """Up to `frames` frames of a clip, evenly from the first to the last; large ones are made smaller.

    Raises:
        ByTheWayError: the file is no clip.
    """
    clip, fps = load_video(path)
    count, height, width, _ = clip.shape
    scale = min(1.0, LONGEST_SIDE[detail] / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    images, order = {}, []
    for index in np.linspace(0, count - 1, min(frames, count)).round().astype(int):
        image = Image.fromarray(np.ascontiguousarray(clip[index]))
        if image.size != size:
            image = image.resize(size, Image.Resampling.LANCZOS)
        name = hashlib.sha256(f"{size}".encode() + image.tobytes()).hexdigest()
        order.append(name)
        images[name] = _data_url(image)
    return Shown(images, tuple(order), size, ClipShape(count, height, width, fps))


def _data_url(image: Image.Image) -> str:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode('ascii')}"


@dataclass(frozen=True)
class Request:
    """One call of the judge, ready to be sent but for its images.

    Attributes:
        body: model, messages and so on, with "sha256:..." where an image goes.
        key: the hash of `body`, under which its reply is kept.
    """

    body: Mapping[str, Any]
    key: str

    @property
    def text_bytes(self) -> int:
        """How long everything is that a model reads beside the images."""
        (message,) = self.body["messages"]
        texts = [part["text"] for part in message["content"] if part["type"] == "text"]
        return len("".join([*texts, json.dumps(self.body.get("response_format", ""))]).encode())

    def filled(self, images: Mapping[str, str]) -> dict[str, Any]:
        """The body with its images, given by their hashes."""
        (message,) = self.body["messages"]
        content = [
            part
            if part["type"] == "text"
            else {**part, "image_url": {**part["image_url"], "url": images[part["image_url"]["url"].partition(":")[2]]}}
            for part in message["content"]
        ]
        return {**self.body, "messages": [{**message, "content": content}]}


def requests(
    model: str, prompt: str, question: Question, first: Shown, second: Shown, detail: Detail
) -> tuple[Request, Request]:
    """The request that asks for JSON by its schema, and the one that asks for it in words alone.

    Args:
        model: the name that the endpoint knows it by.
        prompt: what both clips were made from.
        question: what is asked.
        first: the clip that is called A.
        second: the clip that is called B.
        detail: of the images.
    """
    seconds = first.clip.num_frames / first.clip.fps
    content = [
        _text(
            f"Two videos, A and B, were made from the same description: {json.dumps(prompt, ensure_ascii=False)}\n"
            f"Each lasts {seconds:.2g} seconds. Of each you see {len(first.order)} frames, evenly spaced, in order."
        )
    ]
    for name, shown in (("A", first), ("B", second)):
        for number, digest in enumerate(shown.order, 1):
            content += [
                _text(f"Video {name}, frame {number} of {len(shown.order)}:"),
                {"type": "image_url", "image_url": {"url": f"sha256:{digest}", "detail": detail}},
            ]
    content.append(
        _text(
            f"{question.text}\n"
            "Judge by this question alone; that one video comes first says nothing about it. "
            "Answer with A or B, or with tie where neither is better. Reply with a JSON object and nothing else: "
            '{"reason": "<one short sentence>", "answer": "<A, B or tie>"}'
        )
    )
    plain = {
        "model": model,
        "messages": [{"role": "user", "content": content}],
        "temperature": 0,
        "seed": 0,
    }
    return _request({**plain, "response_format": _FORMAT}), _request(plain)


def _text(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


def _request(body: Mapping[str, Any]) -> Request:
    return Request(body, hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest())


def parse(text: str) -> tuple[Answer, str] | None:
    """The answer that a reply gives and its reason; None for a reply that is anything but the JSON object asked for.

    A fence of Markdown around the whole reply is no part of it. Nothing is ever looked for in prose.
    """
    fenced = _FENCED.fullmatch(text.strip())
    try:
        found = json.loads(fenced[1] if fenced else text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict) or found.keys() != SCHEMA["properties"].keys():  # type: ignore[attr-defined]
        return None
    answer, reason = found["answer"], found["reason"]
    if not isinstance(reason, str) or not isinstance(answer, str) or answer not in get_args(Answer):
        return None
    return answer, reason  # type: ignore[return-value]

"""The request: what a judge is shown, and what it is not; and the answer that a reply holds."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bytheway.clips.write import save_video
from bytheway.evaluation.judge.asking import parse, requests, show
from bytheway.evaluation.questions import QUESTIONS
from tests.toys.chat_server import ChatServer, Sent
from tests.toys.grey_experiments import PROMPTS, write_experiment

Ask = Callable[..., Any]


def test_a_judge_is_shown_both_clips_and_nothing_else(ask: Ask, server: ChatServer, tmp_path: Path) -> None:
    write = write_experiment(tmp_path / "secret-folder", PROMPTS[:1], arms="vanilla,alpha=0.4 beta=3")
    ask(write, questions=QUESTIONS)
    assert len(server.sent) == 3 * 2
    for sent in server.sent:
        images = sent.images()
        assert [image.format for image in images] == ["JPEG"] * 16
        assert [image.size for image in images] == [(32, 32)] * 16
        assert [len(image.getexif()) for image in images] == [0] * 16
        labels = [text for text in sent.texts if text.startswith("Video ")]
        assert labels == [f"Video {name}, frame {n} of 8:" for name in "AB" for n in range(1, 9)]
        kinds = [part["type"] for part in sent.content]
        assert kinds == ["text", *["text", "image_url"] * 16, "text"], "each image follows its label"
        said = json.dumps([sent.texts, sent.headers, {**sent.body, "messages": None}])
        for hidden in ("vanilla", "alpha", "beta", "0.4", "secret", "mp4", str(tmp_path), "seed 7", "bytheway"):
            assert hidden not in said, hidden
        assert PROMPTS[0] in sent.texts[0]
        assert sent.body["temperature"] == 0
        assert sent.body["seed"] == 0
        assert sent.body["max_tokens"] == 50
        assert sent.body["model"] == "judge-1"
        schema = sent.body["response_format"]["json_schema"]["schema"]
        assert sent.body["response_format"]["json_schema"]["strict"] is True
        assert schema["additionalProperties"] is False
        assert set(schema["required"]) == set(schema["properties"])
    asked = {question.text for question in QUESTIONS}
    assert [next(text for text in asked if text in sent.texts[-1]) for sent in server.sent] == [
        question.text for question in QUESTIONS for _ in range(2)
    ]


def test_frames_are_even_in_order_and_the_same_in_both(ask: Ask, server: ChatServer, tmp_path: Path) -> None:
    ask(write_experiment(tmp_path / "trial", PROMPTS[:1]), frames=4)
    straight, swapped = ([round(float(np.asarray(image).mean())) for image in sent.images()] for sent in server.sent)
    steps = np.array([0, 5, 10, 15])
    for found, expected in ((straight, (60, 160)), (swapped, (160, 60))):
        for shown, level in zip((found[:4], found[4:]), expected, strict=True):
            assert np.abs(np.array(shown) - level - steps).max() <= 2, "video and JPEG round"


@pytest.mark.parametrize(("detail", "size"), [("low", (512, 256)), ("high", (1024, 512))])
def test_large_frames_are_made_smaller(tmp_path: Path, detail: Any, size: tuple[int, int]) -> None:
    clip = np.zeros((3, 512, 1024, 3), np.uint8)
    shown = show(save_video(clip, tmp_path / "a.mp4"), 8, detail)
    assert shown.size == size
    assert len(shown.order) == 3, "a short clip is shown whole"
    assert len(shown.images) == 1, "equal frames are one image"
    assert (shown.clip.width, shown.clip.height, shown.clip.num_frames) == (1024, 512, 3)


def test_the_key_is_of_everything_that_decides_the_answer(tmp_path: Path) -> None:
    clips = [save_video(np.full((4, 16, 16, 3), level, np.uint8), tmp_path / f"{level}.mp4") for level in (50, 200)]
    a, b = (show(clip, 4, "low") for clip in clips)
    question, other = QUESTIONS[:2]
    made = [
        requests("m", "p", question, a, b, "low"),
        requests("m", "p", question, b, a, "low"),
        requests("n", "p", question, a, b, "low"),
        requests("m", "q", question, a, b, "low"),
        requests("m", "p", other, a, b, "low"),
        requests("m", "p", question, a, b, "high"),
        requests("m", "p", question, show(clips[0], 2, "low"), show(clips[1], 2, "low"), "low"),
    ]
    keys = [request.key for both in made for request in both]
    assert len(set(keys)) == len(keys) == 14
    copy = tmp_path / "copy.mp4"
    copy.write_bytes(clips[0].read_bytes())
    assert requests("m", "p", question, show(copy, 4, "low"), b, "low")[0].key == keys[0], "not of the file's name"
    assert "data:" not in json.dumps(made[0][0].body), "what is kept has no images"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"reason": "sharper", "answer": "A"}', ("A", "sharper")),
        (' {"answer": "tie", "reason": ""}\n', ("tie", "")),
        ('```json\n{"reason": "x", "answer": "B"}\n```', ("B", "x")),
        ('```\n{"reason": "x", "answer": "B"}\n```\n', ("B", "x")),
        ("A", None),
        ("The answer is A.", None),
        ("", None),
        ('"A"', None),
        ("[]", None),
        ("null", None),
        ('{"reason": "x", "answer": "A"', None),
        ('{"reason": "x", "answer": "a"}', None),
        ('{"reason": "x", "answer": "C"}', None),
        ('{"reason": "x", "answer": ["A"]}', None),
        ('{"reason": 1, "answer": "A"}', None),
        ('{"answer": "A"}', None),
        ('{"reason": "x", "answer": "A", "sure": true}', None),
        ('Here it is: {"reason": "x", "answer": "A"}', None),
        ('```json\n{"reason": "x", "answer": "A"}\n``` I hope this helps', None),
        ('{"reason": "x", "answer": "A"}{"reason": "x", "answer": "A"}', None),
        ("[" * 100_000, None),
    ],
)
def test_only_the_json_that_was_asked_for_is_an_answer(text: str, expected: tuple[str, str] | None) -> None:
    assert parse(text) == expected


def test_images_are_the_clips_frames(tmp_path: Path) -> None:
    frame = np.zeros((64, 64, 3), np.uint8)
    frame[:, :32] = (200, 40, 40)
    shown = show(save_video(np.stack([frame] * 2), tmp_path / "a.mp4"), 2, "low")
    (url,) = shown.images.values()
    sent = Sent({"messages": [{"content": [{"type": "image_url", "image_url": {"url": url}}]}]}, {})
    (image,) = sent.images()
    assert isinstance(image, Image.Image)
    assert np.abs(np.asarray(image).astype(int) - frame).mean() < 6

"""Rows out of files: every format says the same, and every wrong row says where it is."""

import json
from pathlib import Path
from typing import Any

import pandas
import pytest

from bytheway.batch.rows import LONGEST_ROW, Row, checked_settings, read_rows
from bytheway.errors import ByTheWayError
from bytheway.evaluation.experiment.arms import parse_arm


def rows_of(file: Path, content: str | bytes) -> list[Row]:
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    return list(read_rows(file))


def refusal(file: Path, content: str | bytes) -> str:
    with pytest.raises(ByTheWayError) as caught:
        rows_of(file, content)
    return str(caught.value)


def test_a_list_of_prompts_has_one_a_line(tmp_path: Path) -> None:
    rows = rows_of(tmp_path / "list.txt", "\ufeffa red ball\n# a remark\n\n  a star on snow  \n")
    assert [(row.where, row.prompt) for row in rows] == [
        ("list.txt, line 1", "a red ball"),
        ("list.txt, line 4", "a star on snow"),
    ]


@pytest.mark.parametrize("name", ["jobs.csv", "jobs.jsonl", "jobs.parquet"])
def test_every_table_says_the_same(tmp_path: Path, name: str) -> None:
    """A cell that is empty is not given, and whole numbers stay so beside it."""
    cells = [
        {"prompt": "a red ball", "steps": 4, "alpha": 0.4, "arm": "enhanced", "negative_prompt": "12"},
        {"prompt": 'a "star", on snow', "steps": None, "alpha": None, "arm": None, "negative_prompt": None},
    ]
    file, table = tmp_path / name, pandas.DataFrame(cells)
    if name.endswith(".parquet"):
        table.to_parquet(file)
    elif name.endswith(".csv"):
        table.to_csv(file, index=False)
    else:
        file.write_text("".join(json.dumps(one) + "\n" for one in cells))
    first, second = read_rows(file)
    assert first.prompt == "a red ball"
    assert first.settings == {"steps": 4, "negative_prompt": "12"}
    assert isinstance(first.settings["steps"], int)
    assert first.method == {"alpha": 0.4}
    assert first.arm == parse_arm("enhanced")
    assert (second.prompt, second.settings, second.method, second.arm) == ('a "star", on snow', {}, {}, None)


WRONG: dict[str, tuple[Any, str]] = {
    "no object": ("[1, 2]", "is no JSON object"),
    "cut short": ('{"prompt": "a red b', "is no JSON object"),
    "nested": ("[" * 100_000, "is no JSON object"),
    "no prompt": ({"steps": 3}, "has no prompt"),
    "blank prompt": ({"prompt": "  "}, "prompt is empty"),
    "prompt no text": ({"prompt": 7}, "prompt is 7; it must be a text"),
    "surrogates": ('{"prompt": "\\ud800"}', "no text in UTF-8"),
    "misspelt": ({"prompt": "a", "step": 3}, "no setting 'step'; did you mean steps?"),
    "path": ({"prompt": "a", "output": "/etc/passwd"}, "no setting 'output'"),
    "text for a number": ({"prompt": "a", "steps": "many"}, "steps is 'many'; it must be a whole number"),
    "yes for a number": ({"prompt": "a", "steps": True}, "steps is True; it must be a whole number"),
    "half a step": ({"prompt": "a", "steps": 2.5}, "steps is 2.5; it must be a whole number"),
    "beyond a number": ('{"prompt": "a", "guidance_scale": 1e999}', "guidance_scale is inf"),
    "beyond a float": ({"prompt": "a", "guidance_scale": 10**400}, "it must be a number"),
    "a list": ({"prompt": "a", "width": [64]}, "width is [64]; it must be a whole number"),
    "out of range": ({"prompt": "a", "steps": 0}, "steps is 0; it must be at least 1"),
    "seed": ({"prompt": "a", "seed": -1}, "seed is -1"),
    "size": ({"prompt": "a", "width": 10**9, "height": 10**9}, "fits into no memory"),
    "fps": ({"prompt": "a", "fps": 0}, "fps is 0; it must lie between"),
    "method": ({"prompt": "a", "alpha": 2}, "alpha is 2; it must lie between 0 and 1"),
    "arm": ({"prompt": "a", "arm": "../../etc"}, "no arm '../../etc'"),
    "image": ({"prompt": "a", "image": "none.png"}, "There is no image"),
    "sketches": ({"prompt": "a", "sketch": ["cat.png", 3]}, "sketch is 3; it must be a text"),
    "video": ({"prompt": "a", "video": "none.mp4"}, "There is no video"),
    "image and video": ({"prompt": "a", "video": "cat.png", "image": "cat.png"}, "starts from one of image and video"),
    "strength alone": ({"prompt": "a", "strength": 0.5}, "give the video"),
    "strength": ({"prompt": "a", "video": "cat.png", "strength": 0}, "strength is 0; it must be greater than 0"),
    "huge": ({"prompt": "a" * LONGEST_ROW}, f"longer than {LONGEST_ROW} characters"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_row_says_its_line_and_what_is_wrong(tmp_path: Path, case: str) -> None:
    row, said = WRONG[case]
    (tmp_path / "cat.png").touch()
    text = row if isinstance(row, str) else json.dumps(row)
    refused = refusal(tmp_path / "jobs.jsonl", f'{{"prompt": "a red ball"}}\n\n{text}\n')
    assert "jobs.jsonl, line 3" in refused
    assert said in refused


def test_odd_prompts_are_prompts(tmp_path: Path) -> None:
    """Nothing of a prompt becomes a path."""
    odd = ["../../etc/passwd", "nul \x00 byte", "\x1b[31mred", "a" * 10_000, "爆発"]
    rows = rows_of(tmp_path / "jobs.jsonl", "".join(json.dumps({"prompt": one}) + "\n" for one in odd))
    assert [row.prompt for row in rows] == odd


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("jobs.txt", "# nothing\n", "holds no row"),
        ("jobs.txt", b"\xff\xfe\x00", "no text in UTF-8"),
        ("jobs.csv", "prompt,prompt\na,b\n", "has a column twice"),
        ("jobs.csv", "prompt,steps\na,2,3\n", "jobs.csv, line 2 has more cells"),
        ("jobs.csv", f'prompt\n"{"a" * 200_000}"\n', "jobs.csv, line 2 is no CSV"),
        ("jobs.csv", f"prompt,alpha\na,{'[' * 5000}\n", "jobs.csv, line 2: alpha is"),
        ("jobs.parquet", b"PAR1 and no more", "is damaged or no Parquet file"),
    ],
)
def test_damaged_files_are_refused_in_a_sentence(tmp_path: Path, name: str, content: str | bytes, said: str) -> None:
    assert said in refusal(tmp_path / name, content)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("jobs.jsonl", json.dumps({"prompt": "a", "image": ["cat.png", "cat.png@-1"], "lora": "own/zoom=0.5"})),
        ("jobs.csv", 'prompt,image,lora\na,"[""cat.png"", ""cat.png@-1""]",own/zoom=0.5\n'),
    ],
)
def test_files_are_those_beside_the_jobs_file(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / "cat.png").touch()
    (tmp_path / "zoom.safetensors").touch()
    [row] = rows_of(tmp_path / name, content)
    image = tmp_path / "cat.png"
    assert row.settings == {"image": (f"{image}", f"{image}@-1"), "lora": ("own/zoom=0.5",)}
    assert row.start == "image"
    [row] = rows_of(tmp_path / "b.jsonl", '{"prompt": "a", "lora": ["zoom.safetensors=0.5", "zoom.safetensors"]}')
    file = tmp_path / "zoom.safetensors"
    assert (row.settings, row.start) == ({"lora": (f"{file}=0.5", f"{file}")}, None)


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(ByTheWayError, match=r"jobs\.csv cannot be read: No such file"):
        list(read_rows(tmp_path / "jobs.csv"))


def test_settings_of_every_row_are_checked_alike() -> None:
    assert checked_settings({"steps": 2, "width": None}) == {"steps": 2}
    with pytest.raises(ByTheWayError, match="steps is 0"):
        checked_settings({"steps": 0})

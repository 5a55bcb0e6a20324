"""VBench's own files, from our scores (VBench: Huang et al., CVPR 2024; github.com/Vchitect/VBench)."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from bytheway.errors import ByTheWayError
from bytheway.evaluation.clip_files import ClipFile
from bytheway.evaluation.measures.measure import Measurement
from bytheway.evaluation.measures.vbench import overall
from bytheway.evaluation.scores import ClipScores, names_of
from bytheway.evaluation.suites import vbench_entries
from bytheway.files import write_text

CLIPS_A_PROMPT: Final = 5
"""Clips that VBench's standard mode asks for of each prompt, named "prompt-0" to "prompt-4"."""


def dimensions(scores: Sequence[ClipScores]) -> list[str]:
    """The measures among the scores that are dimensions of VBench, by its definition and with its backbones."""
    named = {name: [one.measurements[name] for one in scores if name in one.measurements] for name in names_of(scores)}
    return [name for name, found in named.items() if found and all(one.vbench for one in found)]


def check_names(clips: Sequence[ClipFile]) -> None:
    """Raise ByTheWayError where clips that are named for the suite have a name twice: VBench keeps one of them."""
    entries = _entries()
    seen: dict[str, ClipFile] = {}
    for clip in clips if all(_is_standard(clip, entries) for clip in clips) else ():
        other = seen.setdefault(clip.name, clip)
        if other is not clip:
            raise ByTheWayError(
                f"{other.path} and {clip.path} have the same name, of which VBench's files have one; score one folder "
                "at a time."
            )


def write_vbench_files(name: str, scores: Sequence[ClipScores]) -> list[Path]:
    """Write NAME_eval_results.json and NAME_full_info.json as VBench does; returns where they are.

    Clips that are named as its standard mode wants them, "prompt-0" and so on with prompts of its suite, are written as
    in that mode: each dimension has the clips of its own prompts. Any others are written as in its custom mode.

    Raises:
        ByTheWayError: none of the measures is a dimension of VBench, clips of its suite have the same name, or a file
            cannot be written.
    """
    chosen = dimensions(scores)
    if not chosen:
        raise ByTheWayError(
            "None of the measures is one of VBench's dimensions with its backbone; ask for one that is."
        )
    check_names([one.clip for one in scores])
    entries = _entries()
    in_suite = all(_is_standard(one.clip, entries) for one in scores)
    results, info = _standard(scores, chosen, entries) if in_suite else ({}, [])
    if not results:
        results = {dimension: _result(scores, dimension) for dimension in chosen}
        info = [
            {"prompt_en": one.clip.prompt, "dimension": chosen, "video_list": [str(one.clip.path)]} for one in scores
        ]
    written = []
    for kind, content in (("eval_results", results), ("full_info", info)):
        written.append(Path(f"{name}_{kind}.json"))
        write_text(written[-1], json.dumps(content, indent=4))
    return written


def _entries() -> dict[str, dict[str, Any]]:
    return {str(entry["prompt_en"]): entry for entry in vbench_entries()}


def _is_standard(clip: ClipFile, entries: Mapping[str, Any]) -> bool:
    prompt, _, number = clip.name.rpartition("-")
    return prompt in entries and number in {str(index) for index in range(CLIPS_A_PROMPT)}


def _standard(
    scores: Sequence[ClipScores], chosen: Sequence[str], entries: Mapping[str, Mapping[str, Any]]
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """In the order of the suite; dimensions for which it has no prompts of these are left out."""
    named = {one.clip.name: one for one in scores}
    clips = {
        prompt: [named[name] for index in range(CLIPS_A_PROMPT) if (name := f"{prompt}-{index}") in named]
        for prompt in entries
    }
    results = {}
    for dimension in chosen:
        its = [one for prompt, entry in entries.items() if dimension in entry["dimension"] for one in clips[prompt]]
        if its:
            results[dimension] = _result(its, dimension)
    info = [
        {**entry, "video_list": [str(one.clip.path) for one in clips[prompt]]}
        for prompt, entry in entries.items()
        if not set(results).isdisjoint(entry["dimension"])
    ]
    return results, info


def _result(scores: Sequence[ClipScores], dimension: str) -> list[Any]:
    """The overall number and the clips'; those that the dimension could not be measured of are left out."""
    found = [(one.clip.path, one.measurements[dimension]) for one in scores if dimension in one.measurements]
    extra: Callable[[Measurement], dict[str, Any]] = _background if dimension == "background_consistency" else _none
    clips = [{"video_path": str(path), "video_results": one.value, **extra(one)} for path, one in found]
    return [overall([one for _, one in found]), clips]


def _background(one: Measurement) -> dict[str, Any]:
    return {"video_sim": sum(one.values), "cnt_per_video": len(one.values)}


def _none(one: Measurement) -> dict[str, Any]:
    return {}

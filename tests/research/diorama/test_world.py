"""The toy world: what its clips show agrees with what it says about them."""

from __future__ import annotations

import math
import random
import re
from itertools import combinations

import pytest
import torch

from research.diorama.amplitudes import AMPLITUDES, degree
from research.diorama.world import (
    COLOURS,
    MOTIONS,
    SETTINGS,
    SUBJECTS,
    Clips,
    Scene,
    all_scenes,
    caption,
    render,
    sample_scenes,
    split,
    vocabulary,
)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def sampled() -> tuple[list[Scene], Clips]:
    """A third of all scenes, so that every subject does each of its motions in several settings."""
    scenes = list(all_scenes()[::3])
    return scenes, render(scenes, generator(5))


def test_frames_have_the_promised_form(sampled: tuple[list[Scene], Clips]) -> None:
    scenes, clips = sampled
    n = len(scenes)
    assert clips.frames.shape == (n, 16, 3, 64, 64)
    assert clips.frames.dtype == torch.float32
    assert clips.centre.shape == clips.extent.shape == (n, 16, 2)
    assert clips.mask.shape == (n, 16, 64, 64)
    for values in (clips.frames, clips.mask):
        assert values.min() >= 0
        assert values.max() <= 1


def test_same_seed_same_clips() -> None:
    one, same, other = (render(sample_scenes(6, g), g).frames for g in (generator(1), generator(1), generator(2)))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_batch_equals_clips_rendered_alone() -> None:
    scenes = sample_scenes(24, generator(3))
    batch = render(scenes, generator(4))
    stream = generator(4)
    for i, scene in enumerate(scenes):
        alone = render([scene], stream)
        torch.testing.assert_close(alone.frames[0], batch.frames[i], atol=1e-4, rtol=0)
        torch.testing.assert_close(alone.centre[0], batch.centre[i])
        torch.testing.assert_close(alone.mask[0], batch.mask[i], atol=1e-4, rtol=0)


def test_every_tensor_lives_on_the_device_asked_for() -> None:
    """The device without storage refuses to mix with the CPU as an accelerator does."""
    scenes = list(all_scenes()[::20])
    clips = render(scenes, generator(), device="meta")
    assert clips.frames.device.type == clips.extent.device.type == "meta"
    assert clips.frames.shape == (len(scenes), 16, 3, 64, 64)


def test_higher_resolution_shows_the_same_world() -> None:
    scenes = [Scene("dog", "white", "meadow", "left"), Scene("boat", "red", "sea", "right")]
    small, large = render(scenes, generator(), size=64), render(scenes, generator(), size=128)
    torch.testing.assert_close(large.centre, 2 * small.centre)
    shrunk = torch.nn.functional.avg_pool2d(large.frames.flatten(0, 1), 2).view_as(small.frames)
    assert (shrunk - small.frames).abs().mean() < 0.02


def test_tracks_follow_the_masks(sampled: tuple[list[Scene], Clips]) -> None:
    _, clips = sampled
    cells = torch.arange(64) + 0.5
    area = clips.mask.sum((-1, -2))
    centroid = torch.stack(((clips.mask.sum(-2) * cells).sum(-1), (clips.mask.sum(-1) * cells).sum(-1)), -1)
    assert area.min() > 100
    assert (centroid / area.unsqueeze(-1) - clips.centre).abs().max() < 3.5


def test_only_the_subject_and_its_shadow_change(sampled: tuple[list[Scene], Clips]) -> None:
    _, clips = sampled
    never = clips.mask.amax(1) == 0
    change = (clips.frames.amax(1) - clips.frames.amin(1)).amax(1)
    assert change[:, :44][never[:, :44]].max() == 0


def test_subjects_are_a_third_to_two_thirds_of_the_frame_and_stay_inside(sampled: tuple[list[Scene], Clips]) -> None:
    _, clips = sampled
    longer = clips.extent.amax(-1)
    assert longer.min() >= 21
    assert longer.mean(1).max() <= 43
    assert longer.max() <= 43
    border = torch.ones(64, 64, dtype=torch.bool)
    border[1:-1, 1:-1] = False
    # A beak or a tail may touch the border at an end of the way, no body does.
    assert clips.mask[..., border].sum(-1).max() < 8


def test_motions_displace_by_their_amplitude(sampled: tuple[list[Scene], Clips]) -> None:
    scenes, clips = sampled
    for scene, track, amplitude in zip(scenes, clips.centre, clips.amplitude.tolist(), strict=True):
        x, y = track.unbind(-1)
        sideways, upwards = x[-1] - x[0], y.max() - y.min()
        if scene.motion in ("left", "right"):
            sign = -1 if scene.motion == "left" else 1
            assert sign * sideways == pytest.approx(amplitude, abs=1e-4)
            assert sign * (x[0] - 32) == pytest.approx(-0.4 * amplitude, abs=1.01)
            torch.testing.assert_close(x.diff(), (sideways / 15).expand(15), atol=1e-3, rtol=0)
            assert upwards <= 2
        elif scene.motion == "jump":
            assert x.max() - x.min() == 0
            assert 0.85 * amplitude <= upwards <= 1.15 * amplitude
            rising = y.diff() < 0
            assert 1 <= (rising[1:] & ~rising[:-1]).sum() <= 2
        else:
            assert x.max() - x.min() == 0
            assert upwards <= 2
        assert track.diff(n=3, dim=0).norm(dim=-1).mean() < 5.5


@pytest.mark.parametrize("motion", ["left", "right", "jump", "spin"])
def test_amplitudes_are_drawn_evenly_from_the_whole_range(motion: str) -> None:
    amplitude = render([Scene("box", "red", "meadow", motion)] * 400, generator(6), num_frames=1, size=16).amplitude
    least, greatest = AMPLITUDES[motion]
    quarters = torch.histc((amplitude - least) / (greatest - least), bins=4, min=0, max=1)
    assert quarters.sum() == 400
    assert quarters.min() > 70


def test_nobody_jumps_out_of_the_frame() -> None:
    clips = render([Scene("person", "red", "meadow", "jump")] * 40, generator(6))
    assert clips.mask[:, :, 0].max() == 0
    least, greatest = AMPLITUDES["jump"]
    assert least < clips.amplitude.min()
    assert 11 < clips.amplitude.max() <= greatest


def test_amplitude_does_not_depend_on_the_resolution() -> None:
    scenes = [Scene("dog", "white", "meadow", "left"), Scene("box", "red", "night", "spin")]
    small, large = (render(scenes, generator(), size=size).amplitude for size in (16, 64))
    assert torch.equal(small, large)


def test_what_spins_turns_by_its_amplitude() -> None:
    """The outline of a box is the same again after every quarter turn, and differs most halfway between."""
    clips = render([Scene("box", "red", "meadow", "spin")] * 40, generator(8), size=128)
    first, last = clips.mask[:, 0], clips.mask[:, -1]
    changed = (last - first).abs().sum((-1, -2)) / first.sum((-1, -2))
    apart = (math.tau * 2 * clips.amplitude).sin().abs()
    assert torch.corrcoef(torch.stack([changed, apart]))[0, 1] > 0.95


def test_legs_keep_step_with_the_way() -> None:
    clips = render([Scene("person", "red", "meadow", "right")] * 24, generator(9), size=256)
    left = clips.centre[..., 0].round().long() - 40
    columns = (left[..., None] + torch.arange(80)).clamp(0, 255)[:, :, None].expand(-1, -1, 256, -1)
    alone = clips.mask.gather(-1, columns)[:, :, 170:]
    steps = alone.diff(dim=1).abs().sum((1, 2, 3))
    assert torch.corrcoef(torch.stack([steps, clips.amplitude]))[0, 1] > 0.8


def test_what_stands_still_does_not_change_and_what_spins_does(sampled: tuple[list[Scene], Clips]) -> None:
    scenes, clips = sampled
    for scene, frames in zip(scenes, clips.frames, strict=True):
        change = frames.diff(dim=0).abs().amax((1, 2, 3))
        if scene.motion == "still" and scene.subject not in ("bird", "boat"):
            assert change.max() < 1e-6
        elif scene.motion == "jump":
            assert change.max() > 0.1
        else:
            assert change.min() > 0.01


@pytest.mark.parametrize("subject", ["car", "person", "dog", "bird", "boat"])
def test_direction_shows_in_a_single_frame(subject: str) -> None:
    """The subject that goes left is the mirror image of the one that goes right, and is not symmetric itself."""
    scenes = [Scene(subject, "red", "sea" if subject == "boat" else "meadow", motion) for motion in ("left", "right")]
    masks = []
    for scene in scenes:
        # Large, so that half a pixel more or less is little.
        clips = render([scene], generator(2), size=256)
        middle = int(clips.centre[0, 7, 0].round())
        shown = clips.frames[0, 7] * clips.mask[0, 7]
        masks.append(torch.nn.functional.pad(shown, (72, 72))[..., middle : middle + 144])
    left, right = masks
    assert (left.flip(-1) - right).abs().mean() < 0.6 * (left - right).abs().mean()


def test_split_is_even_and_keeps_every_pair_in_training() -> None:
    scenes = all_scenes()
    assert len(set(scenes)) == len(scenes)
    unseen = {scene for scene in scenes if split(scene) == "unseen"}
    training = set(scenes) - unseen
    assert unseen == {scene for scene in scenes if split(scene) == "unseen"}
    assert 0.12 <= len(unseen) / len(scenes) <= 0.18
    names = ("subject", "colour", "setting", "motion")

    def pairs(group: set[Scene]) -> set[tuple[str, ...]]:
        return {(a, b, getattr(s, a), getattr(s, b)) for s in group for a, b in combinations(names, 2)}

    assert pairs(training) == pairs(set(scenes))
    for name, values in zip(names, (SUBJECTS, COLOURS, SETTINGS, MOTIONS), strict=True):
        assert {getattr(s, name) for s in unseen} == set(values)


def test_sampling_is_seeded_balanced_and_keeps_to_its_side() -> None:
    training = sample_scenes(2000, generator(), "train")
    assert training == sample_scenes(2000, generator(), "train")
    assert all(split(scene) == "train" for scene in training)
    assert all(split(scene) == "unseen" for scene in sample_scenes(200, generator(), "unseen"))
    assert {split(scene) for scene in sample_scenes(200, generator(), "all")} == {"train", "unseen"}
    for subject in SUBJECTS:
        assert 180 <= sum(scene.subject == subject for scene in training) <= 320


def test_senseless_scenes_are_left_out() -> None:
    scenes = set(all_scenes())
    assert Scene("car", "red", "sea", "left") not in scenes
    assert Scene("boat", "red", "meadow", "left") not in scenes
    assert Scene("ball", "white", "snow", "left") not in scenes
    assert Scene("dog", "red", "meadow", "spin") not in scenes
    assert Scene("ball", "red", "meadow", "jump") in scenes


WORDS = {"slowly": "low", "little": "low", "fast": "high", "quickly": "high", "high": "high"}


def captioned(count: int) -> list[tuple[Scene, float, str]]:
    """Scenes with amplitudes and the captions that training reads."""
    rng, scenes = random.Random(0), sample_scenes(count, generator(), "all")
    amplitudes = [rng.uniform(*AMPLITUDES[scene.motion]) for scene in scenes]
    return [(one, amplitude, caption(one, rng, amplitude)) for one, amplitude in zip(scenes, amplitudes, strict=True)]


def test_captions_stay_within_the_vocabulary_and_use_it() -> None:
    words = vocabulary()
    assert list(words) == sorted(set(words))
    assert all(re.fullmatch("[a-z]+", word) for word in words)
    assert len(words) <= 120
    used: set[str] = set()
    for scene, _, text in captioned(6000):
        used |= set(text.split())
        assert scene.colour in text.split()
    assert used == set(words)
    assert {"a", "red", "ball", "bouncing", "on", "grass"} <= set(words)


def test_captions_tell_scenes_apart() -> None:
    """Two scenes never get the same caption."""
    seen: dict[str, Scene] = {}
    for scene, _, text in captioned(4000):
        assert seen.setdefault(text, scene) == scene
    assert caption(scene, random.Random(7), 9.0) == caption(scene, random.Random(7), 9.0)


def test_words_for_an_amplitude_are_true_and_a_third_of_the_captions_have_one() -> None:
    moving, worded, silent = 0, 0, []
    for scene, amplitude, text in captioned(6000):
        found = [WORDS[word] for word in text.split() if word in WORDS]
        assert len(found) <= (scene.motion != "still")
        if found:
            assert found[0] == degree(scene.motion, amplitude)
        elif scene.motion in ("left", "right"):
            silent.append(amplitude)
        moving += scene.motion != "still"
        worded += bool(found)
    assert worded / moving == pytest.approx(0.4 * 0.8, abs=0.02)
    fifths = torch.histc(torch.tensor(silent), bins=5, min=2, max=26) / len(silent)
    assert fifths.min() > 0.15, "silent captions leave the whole range open"


def test_a_caption_without_an_amplitude_says_nothing_of_it() -> None:
    rng = random.Random(0)
    for scene in sample_scenes(2000, generator(), "all"):
        assert not WORDS.keys() & set(caption(scene, rng).split())


@pytest.mark.parametrize(
    ("motion", "amplitude", "said"),
    [
        ("left", 2, "low"),
        ("right", 11, "low"),
        ("left", 14, None),
        ("right", 17, "high"),
        ("spin", 0.1, "low"),
        ("spin", 0.45, "high"),
        ("jump", 3, "low"),
        ("jump", 18, "high"),
        ("still", 0, None),
    ],
)
def test_degrees_lie_at_the_ends_of_a_range(motion: str, amplitude: float, said: str | None) -> None:
    assert degree(motion, amplitude) == said

"""What the page sends and shows: a form as JSON, turned into a wish, and back from the settings of a clip."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any, Final

from bytheway.clips.inputs import ImageInput, VideoInput, read_image, read_video
from bytheway.config import ByTheWayConfig
from bytheway.errors import ByTheWayError
from bytheway.families.family import Start
from bytheway.families.known import families, known_models, presets
from bytheway.generation.request import Request, drawn_seed
from bytheway.models.choice import ModelChoice
from bytheway.models.registry import is_present
from bytheway.selection.aim import AIMS
from bytheway.studio.history import History
from bytheway.studio.wishes import OF_METHOD, OF_RUN, WHOLE, Axis, Best, Method, Wish

LONGEST_TEXT: Final = 4000  # characters of a prompt
STARTS: Final[tuple[Start, ...]] = ("image", "sketch", "video")
_METHODS: Final = ("preset", "auto", "own", "off")


def choices() -> dict[str, Any]:
    """What the form offers: models, presets with where they come from, settings of grids, aims."""
    preset_of = {
        model.name: model.preset or (family.presets[0].name if family.presets else None)
        for family in families()
        for model in family.models
    }
    return {
        "models": [
            {
                "name": model.name,
                "description": model.description,
                "start": model.start,
                "here": is_present(model),
                "preset": preset_of.get(model.name),
            }
            for model in known_models()
        ],
        "presets": [
            {
                "name": name,
                "source": preset.source,
                "figure": preset.figure,
                **_method_fields(preset.config),
            }
            for name, preset in presets().items()
        ],
        "settings": [*OF_METHOD, *OF_RUN],
        "aims": list(AIMS),
    }


def wish_of(form: Mapping[str, Any], history: History, device: str | None = None, model: str = "diorama") -> Wish:
    """The wish of a form.

    Args:
        form: what the page sent, of any shape.
        history: has the files that clips start from.
        device: where the model goes.
        model: the one where the form names none.

    Raises:
        ByTheWayError: something in it is missing, or not what it should be.
    """
    read = _Form(form)
    start, images, video = _starts(read, history)
    choice = ModelChoice(
        model=read.text("model") or model,
        motion_adapter=read.text("motion_adapter") or None,
        lora=tuple(filter(None, (one.strip() for one in re.split(r"[\n,]", read.text("lora"))))),
        device=device,
        dtype=None,
        start=start,
    )
    seed = read.whole("seed")
    request = Request(
        (read.text("prompt"),),
        seed=drawn_seed() if seed is None else seed,
        negative_prompt=read.text("negative_prompt") or None,
        num_frames=read.whole("num_frames"),
        width=read.whole("width"),
        height=read.whole("height"),
        steps=read.whole("steps"),
        guidance_scale=read.number("guidance_scale"),
        fps=read.number("fps"),
        images=images,
        video=video,
        strength=read.number("strength") if video is not None else None,
    )
    kind = read.one_of("kind", ("make", "seeds", "grid"))
    best: Best | None = None
    grid: tuple[Axis, ...] = ()
    if kind == "seeds":
        best = Best(read.whole("seeds") or 0, read.whole("keep") or 0, read.one_of("aim", AIMS))  # type: ignore[arg-type]
    elif kind == "grid":
        grid = tuple(_axis(one) for one in read.list("grid"))
    return Wish(choice, request, _method(read), kind == "make" and read.flag("compare"), best, grid)


def form_of(settings: Mapping[str, Any], history: History) -> dict[str, Any]:
    """The form that makes a clip again, from the settings that it carries, whoever wrote them.

    What is of the wrong kind is left out; of files only those that the history keeps are named.
    """
    form: dict[str, Any] = {"kind": "make"}
    for name in ("model", "motion_adapter", "prompt", "negative_prompt"):
        value = settings.get(name)
        form[name] = value[:LONGEST_TEXT] if isinstance(value, str) else ""
    for name in ("seed", "num_frames", "width", "height", "steps", "guidance_scale", "fps", "strength"):
        value = settings.get(name)
        plain = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        form[name] = str(value) if plain else ""
    loras = settings.get("lora")
    form["lora"] = ", ".join(one for one in loras if isinstance(one, str)) if isinstance(loras, list) else ""
    form["method"] = "off"
    config = settings.get("config")
    if isinstance(config, dict):
        try:
            own = ByTheWayConfig.from_dict(config)
            form |= {"method": "own"} | _method_fields(own)
        except ByTheWayError:
            form["method"] = "preset"
    form["inputs"] = _kept(settings, history)
    images = settings.get("images")
    given = len(images) if isinstance(images, list) else 0
    left_out = []
    if given + bool(settings.get("video")) > len(form["inputs"]):
        left_out.append("The files that it starts from are not all kept here; give them again.")
    for name, said in (("free_init", "FreeInit"), ("controlnet", "The ControlNet")):
        if settings.get(name):
            left_out.append(f"{said}, which the form does not have, is left out.")
    form["left_out"] = left_out
    return form


def _method_fields(config: ByTheWayConfig) -> dict[str, Any]:
    """What the form has of the method: numbers that are shown, and as text of JSON the other fields that were set."""
    plain, others = ByTheWayConfig().to_dict(), config.to_dict()
    shown = {name: others.pop(name) for name in OF_METHOD}
    set_otherwise = {name: value for name, value in others.items() if value != plain[name]}
    return {**shown, "others": json.dumps(set_otherwise) if set_otherwise else ""}


def _kept(settings: Mapping[str, Any], history: History) -> list[dict[str, Any]]:
    images, start = settings.get("images"), settings.get("start")
    found = []
    for text in images if isinstance(images, list) else []:
        file, at, frame = str(text).rpartition("@")
        kept = history.kept_input(file) if at and frame.isdecimal() else None
        if kept is not None:
            found.append({"file": kept.name, "kind": "sketch" if start == "sketch" else "image", "frame": int(frame)})
    kept = history.kept_input(str(settings.get("video")))
    return found if kept is None else [{"file": kept.name, "kind": "video", "frame": 0}]


def _starts(read: _Form, history: History) -> tuple[Start | None, tuple[ImageInput, ...], VideoInput | None]:
    kinds: set[Start] = set()
    images, video = [], None
    for item in read.list("inputs"):
        one = _Form(item)
        kept = history.kept_input(str(history.inputs / one.text("file")))
        if kept is None:
            raise ByTheWayError("The file that the clip is to start from is not there any more; give it again.")
        kind: Start = one.one_of("kind", STARTS)  # type: ignore[assignment]
        kinds.add(kind)
        try:
            if kind == "video":
                video = read_video(kept)  # so far as to know it is one; the rest is read when the clip is made
            else:
                images.append(read_image(f"{kept}@{one.whole('frame') or 0}", sketch=kind == "sketch"))
        except ByTheWayError as error:
            raise ByTheWayError(str(error).replace(str(kept), "The file")) from error
    if len(kinds) > 1:
        raise ByTheWayError("A clip starts from images, from sketches or from a video; leave the other kinds out.")
    return next(iter(kinds), None), tuple(images), video


def _method(read: _Form) -> Method:
    chosen = read.one_of("method", _METHODS)
    if chosen == "own":
        values = {name: read.number(name) for name in OF_METHOD}
        missing = [name for name, value in values.items() if value is None]
        if missing:
            raise ByTheWayError(f"{missing[0]} is missing; give a number.")
        try:
            others = json.loads(read.text("others") or "{}")
        except (ValueError, RecursionError):
            others = None
        if not isinstance(others, dict):
            raise ByTheWayError("The clip's other settings cannot be read; choose a preset to begin from.")
        return ByTheWayConfig.from_dict({**others, **values, "tau": read.whole("tau")})
    return None if chosen == "off" else chosen  # type: ignore[return-value]


def _axis(item: Any) -> Axis:
    read = _Form(item)
    words = [word for word in re.split(r"[\s,;]+", read.text("values")) if word]
    setting = read.text("setting")
    values = []
    for word in words:
        one = _Form({setting: word})
        number = one.whole(setting) if setting in WHOLE else one.number(setting)
        assert number is not None
        values.append(number)
    return Axis(setting, tuple(values))


class _Form:
    """An object of JSON whose fields are what they should be, or an error in a sentence."""

    def __init__(self, fields: Any) -> None:
        if not isinstance(fields, Mapping):
            raise ByTheWayError("That is no form of the studio's; load the page again.")
        self._fields = fields

    def text(self, name: str) -> str:
        """A text without blanks around it; empty where it is not given."""
        value = self._fields.get(name)
        if value is None:
            return ""
        if not isinstance(value, str) or len(value) > LONGEST_TEXT:
            raise ByTheWayError(f"{name} must be a text of at most {LONGEST_TEXT} characters.")
        return value.strip()

    def number(self, name: str) -> float | None:
        """A finite number, also where it is written as text; None where it is not given."""
        value = self._fields.get(name)
        if value is None or (isinstance(value, str) and not value.strip()):
            return None
        try:
            if isinstance(value, bool) or not isinstance(value, str | int | float):
                raise ValueError
            number = float(value)
        except (ValueError, OverflowError):
            number = math.nan
        if not math.isfinite(number):
            raise ByTheWayError(f"{name} is {str(value)[:40]!r}; it must be a number.")
        return number

    def whole(self, name: str) -> int | None:
        """A whole number, exactly; None where it is not given."""
        value = self._fields.get(name)
        if isinstance(value, str) and re.fullmatch(r"\s*-?\d{1,19}\s*", value):
            return int(value)
        number = self.number(name)
        if number is not None and number != int(number):
            raise ByTheWayError(f"{name} is {number:g}; it must be a whole number.")
        return None if number is None else int(number)

    def flag(self, name: str) -> bool:
        """Whether it is true."""
        return self._fields.get(name) is True

    def one_of(self, name: str, known: tuple[str, ...]) -> str:
        """One of some words; the first where it is not given."""
        value = self._fields.get(name) or known[0]
        if value not in known:
            raise ByTheWayError(f"{name} is {str(value)[:40]!r}; it must be one of {', '.join(known)}.")
        return str(value)

    def list(self, name: str) -> list[Any]:
        """A short list; empty where it is not given."""
        value = self._fields.get(name) or []
        if not isinstance(value, list) or len(value) > 16:
            raise ByTheWayError(f"{name} must be a list of at most 16.")
        return value

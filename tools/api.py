"""The page of the public names, `docs/api.md`, from the docstrings; griffe reads them as text and imports nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import griffe

ROOT: Final = Path(__file__).parents[1]
# Whose public names have a section of their own, and those that do not come from its `__all__`.
SECTIONS: Final[dict[str, str]] = {
    "bytheway.apply": "apply_bytheway remove_bytheway enhanced observe Run",
    "bytheway.config": "ByTheWayConfig",
    "bytheway.errors": "ByTheWayError",
    "bytheway.record": "Record Row",
    "bytheway.models": "",
    "bytheway.generation": "generate Request Job check Clip Step",
    "bytheway.families": "TemporalAttention Family TemporalAttentions JointAttentions Preset MakersDefaults MadeFor "
    "SamplerDefaults families declare withdraw family_of presets preset_for",
    "bytheway.clips": "",
    "bytheway.attention": "",
    "bytheway.method": "high_band projector frequency_filter attention_energy band_energy disparity resample_map "
    "match_heads self_guide adaptive_beta enhance_motion bytheway_map",
    "bytheway.training": "",
    "bytheway.diagnosis": "curves_of Curves diagnose Finding predict Prediction Fit Predictor find_fit save_fit "
    "curves_figure draw_curves draw_maps watch_maps",
    "bytheway.selection": "best_of Choice Candidate learn Example",
    "bytheway.evaluation.measures": "load_measures Measure Measurement Backbone Kind overall prompt_of",
    "bytheway.evaluation.measures.backbones": "Brought",
}
_HEADING: Final = re.compile(r"(Args|Attributes|Returns|Raises):")
_ITEM: Final = re.compile(r"    (?! )([^:`]+): (.*)")
_WIDEST: Final = 100  # of a signature on one line


def api() -> str:
    """`docs/api.md`."""
    package = griffe.load("bytheway", search_paths=[ROOT / "src"])
    face = _exported(package, "bytheway")
    sections = {module: list(_objects(package, module, names.split())) for module, names in SECTIONS.items()}
    lines = ["# The public names", "", "Written from the docstrings by `python -m tools.pages`.", ""]
    lines += [f"Straight from `bytheway` come {', '.join(f'`{name}`' for name in face)}.", ""]
    for module, objects in sections.items():
        lines += [f"- [`{module}`](#in-{module.replace('.', '')}): {', '.join(f'`{one.name}`' for one in objects)}"]
    for module, objects in sections.items():
        lines += ["", f"## In {module}"]
        for one in objects:
            lines += ["", *_described(one, "###")]
    return "\n".join(lines) + "\n"


def _exported(package: griffe.Object | griffe.Alias, module: str) -> list[str]:
    """The names in the `__all__` of a module."""
    exports = package[module.partition(".")[2]].exports if "." in module else package.exports
    return [str(name) for name in exports or ()]


def _objects(package: griffe.Object | griffe.Alias, module: str, names: Sequence[str]) -> Iterator[griffe.Object]:
    """The public functions and classes of a room, wherever in it they are defined."""
    room = package[module.partition(".")[2]]
    inside = [room, *(one for one in room.members.values() if not one.is_alias and one.is_module)]
    for name in names or _exported(package, module):
        found = next((home.members[name] for home in inside if name in home.members), None)
        if found is None:
            raise KeyError(f"{module} has no {name}")
        found = found.final_target if isinstance(found, griffe.Alias) else found
        if found.is_function or found.is_class:
            yield found


def _described(one: griffe.Object, level: str) -> Iterator[str]:
    name = one.name if level == "###" else f"{one.parent.name}.{one.name}" if one.parent else one.name
    home = Path(str(one.filepath)).relative_to(ROOT)
    yield from (f"{level} `{name}`", "")
    if level == "###":
        yield from (f"[{home.relative_to('src')}](../{home})", "")
    if not one.is_attribute:
        yield from ("```python", _signature(one), "```", "")
    yield from _rendered(one.docstring.value if one.docstring else "")
    if one.is_class:
        for member in one.members.values():
            if isinstance(member, griffe.Object) and member.docstring and not member.name.startswith("_"):
                yield from ("", *_described(member, "####"))


def _signature(one: griffe.Object) -> str:
    """The call, on one line where it fits."""
    assert isinstance(one, griffe.Function | griffe.Class)
    star = False
    parameters: list[str] = []
    for parameter in one.parameters or _fields(one):
        if parameter.name in ("self", "cls"):
            continue
        kind = parameter.kind or griffe.ParameterKind.positional_or_keyword
        star |= kind is griffe.ParameterKind.var_positional
        if kind is griffe.ParameterKind.keyword_only and not star:
            parameters, star = [*parameters, "*"], True
        stars = {griffe.ParameterKind.var_positional: "*", griffe.ParameterKind.var_keyword: "**"}.get(kind, "")
        default = "" if parameter.default is None or stars else f" = {parameter.default}"
        parameters.append(f"{stars}{parameter.name}: {parameter.annotation}{default}")
    end = f") -> {one.returns}" if isinstance(one, griffe.Function) and one.returns is not None else ")"
    line = f"{one.name}({', '.join(parameters)}{end}"
    if len(line) <= _WIDEST:
        return line
    return "\n".join([f"{one.name}(", *(f"    {parameter}," for parameter in parameters), end])


def _fields(one: griffe.Function | griffe.Class) -> Iterator[griffe.Parameter]:
    """What a NamedTuple is made of."""
    for member in one.members.values():
        if isinstance(member, griffe.Attribute) and "property" not in member.labels:
            yield griffe.Parameter(member.name, annotation=member.annotation, default=member.value)


def _rendered(docstring: str) -> Iterator[str]:
    """A docstring as Markdown: its sections as lists, its examples as code."""
    section, example = "", False
    for line in docstring.splitlines():
        heading, starts = _HEADING.fullmatch(line), line.lstrip().startswith(">>>")
        if starts and not example:
            yield "```python"
        if example and not line.strip():
            yield "```"
        example = bool(line.strip()) and (example or starts)
        if heading:
            section = heading[1]
            yield from (f"**{section}**", "")
        elif example or not section:
            yield line.removesuffix("  # doctest: +SKIP")
        elif section != "Returns" and (item := _ITEM.fullmatch(line)):
            yield f"- `{item[1]}`: {item[2]}"
        else:
            yield "  " + line.strip() if section != "Returns" and line.strip() else line.strip()
    if example:
        yield "```"

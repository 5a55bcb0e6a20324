"""The rooms of the package: which may import which, and that no files import each other in a ring.

Imports are read as text, also those inside functions and under TYPE_CHECKING. `python -m tests.test_rooms SRC` counts
rooms, floors, arrows and rings of any tree.
"""

import ast
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

PACKAGE = "bytheway"
SOURCE = Path(__file__).parents[1] / "src" / PACKAGE

# A room is a folder of the package, or one of its single files. Rooms on the left may import those on the right, and
# whatever these may.
ARROWS: Mapping[str, set[str]] = {
    "errors": set(),
    "files": {"errors"},
    "config": {"files"},
    "clips": {"files"},
    "method": {"config"},
    "attention": {"method"},
    "record": {"attention"},
    "families": {"attention"},
    "apply": {"families", "record"},
    "training": {"families"},
    "diagnosis": {"families", "record"},
    "models": {"families"},
    "generation": {"models", "apply", "clips"},
    "evaluation": {"generation", "record"},
    "batch": {"evaluation"},
    "selection": {"evaluation", "diagnosis"},
    "comfyui": {"selection", "tuning"},
    "tuning": {"evaluation", "diagnosis"},
    "studio": {"selection", "tuning"},
    "cli": {"studio", "batch"},
    "__main__": {"cli"},
}
# The face of the package names what is public, wherever it is, and imports it when it is asked for.
FACE = "__init__"
# Single files beside the rooms.
SINGLE = {"errors", "files", "method", "config", "record"}


def modules(source: Path) -> dict[str, Path]:
    """Every file of a package by its dotted name below it; a folder's own file has the folder's name."""
    found = {}
    for path in sorted(source.rglob("*.py")):
        parts = path.relative_to(source).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)
        found[name] = path
    return found


def imports(path: Path, known: Mapping[str, Path], package: str = PACKAGE) -> Iterator[str]:
    """The modules of the package that a file imports, by their names below it."""

    def below(name: str) -> str:
        return FACE if name == package else name.removeprefix(f"{package}.")

    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (below(one.name) for one in node.names if one.name.split(".")[0] == package)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == package:
            assert node.module is not None
            for one in node.names:
                inner = f"{node.module}.{one.name}"
                name = below(inner) if below(inner) in known else below(node.module)
                yield name


def graph(source: Path, package: str = PACKAGE) -> dict[str, set[str]]:
    """Which file imports which."""
    known = modules(source)
    return {name: set(imports(path, known, package)) - {name} for name, path in known.items()}


def room_of(module: str) -> str:
    return module.partition(".")[0]


def rooms_of(files: Mapping[str, set[str]]) -> dict[str, set[str]]:
    """Which room imports which."""
    rooms: dict[str, set[str]] = {}
    for name, imported in files.items():
        rooms.setdefault(room_of(name), set()).update(room_of(one) for one in imported)
    return {room: others - {room} for room, others in rooms.items()}


def rings(files: Mapping[str, set[str]]) -> list[set[str]]:
    """Files that import each other, directly or by others: the strongly connected components (Tarjan)."""
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[set[str]] = []

    def visit(name: str) -> None:
        order[name] = low[name] = len(order)
        stack.append(name)
        for other in files.get(name, ()):
            if other not in order:
                visit(other)
                low[name] = min(low[name], low[other])
            elif other in stack:
                low[name] = min(low[name], order[other])
        if low[name] == order[name]:
            ring = set()
            while name not in ring:
                ring.add(stack.pop())
            if len(ring) > 1:
                found.append(ring)

    for name in files:
        if name not in order:
            visit(name)
    return found


def floors(rooms: Mapping[str, set[str]]) -> int:
    """How many floors the rooms stand on, each above those that it imports; rings count as one room."""
    ring_of = {name: min(ring) for ring in rings(rooms) for name in ring}
    heights: dict[str, int] = {}

    def height(room: str) -> int:
        key = ring_of.get(room, room)
        if key not in heights:
            members = [name for name in rooms if ring_of.get(name, name) == key]
            below = {other for name in members for other in rooms[name] if ring_of.get(other, other) != key}
            heights[key] = 1 + max((height(other) for other in below if other in rooms), default=0)
        return heights[key]

    return max(height(room) for room in rooms)


def allowed(room: str) -> set[str]:
    """Every room that a room may import."""
    direct = ARROWS[room]
    return direct.union(*(allowed(other) for other in direct)) if direct else set()


FILES = graph(SOURCE)


def test_every_room_is_in_the_table() -> None:
    assert set(rooms_of(FILES)) - {FACE} == set(ARROWS)
    single = {name for name in FILES if "." not in name and (SOURCE / f"{name}.py").exists()}
    assert single - {FACE, "__main__"} == SINGLE


@pytest.mark.parametrize("module", sorted(set(FILES) - {FACE}))
def test_arrows_point_one_way(module: str) -> None:
    room = room_of(module)
    public = {FACE} if room in {"cli", "generation", "evaluation"} else set()  # for the version, which files say
    assert {room_of(one) for one in FILES[module]} - {room} - public <= allowed(room)


def test_no_files_import_each_other_in_a_ring() -> None:
    assert rings({name: imported for name, imported in FILES.items() if name != FACE}) == []


@pytest.mark.parametrize("room", sorted(path.parent.name for path in SOURCE.glob("*/__init__.py")))
def test_every_room_says_what_it_is_about(room: str) -> None:
    text = ast.get_docstring(ast.parse((SOURCE / room / "__init__.py").read_text(encoding="utf-8"))) or ""
    assert 2 <= text.count(". ") + text.count(".\n") + text.endswith(".") <= 6, text
    assert "May import" in text


def test_files_fit_in_a_head() -> None:
    long = {
        name: lines for name, path in modules(SOURCE).items() if (lines := len(path.read_text().splitlines())) > 400
    }
    assert long == {}


def test_the_package_needs_nothing_of_a_checkout() -> None:
    for path in modules(SOURCE).values():
        for package in ("research", "benchmarks", "tests"):
            assert list(imports(path, {}, package)) == []


@pytest.mark.parametrize(
    ("file", "text", "caught"),
    [
        ("method", "from bytheway.config import BetaRule", set()),
        ("method", "from bytheway.apply.api import enhanced", {"apply.api"}),
        ("method", "def late():\n    import bytheway.models.loading", {"models.loading"}),
        ("method", "if TYPE_CHECKING:\n    from bytheway.models import loading", {"models.loading"}),
    ],
)
def test_imports_are_seen_wherever_they_stand(tmp_path: Path, file: str, text: str, caught: set[str]) -> None:
    path = tmp_path / f"{file}.py"
    path.write_text(text)
    seen = set(imports(path, modules(SOURCE)))
    assert {one for one in seen if room_of(one) not in allowed(file)} == caught


def test_rings_are_found() -> None:
    assert rings({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == [{"a", "b", "c"}]


if __name__ == "__main__":
    tree = graph(Path(sys.argv[1]))
    tree.pop(FACE, None)
    houses = rooms_of(tree)
    print(
        f"{len(tree)} files, {len(houses)} rooms, {floors(houses)} floors of rooms ({floors(tree)} of files), "
        f"{sum(len(others & houses.keys()) for others in houses.values())} arrows between rooms "
        f"({sum(len(others) for others in tree.values())} between files), {len(rings(tree))} rings of files, "
        f"the largest of {max(map(len, rings(tree)), default=0)}"
    )

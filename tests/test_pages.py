"""The pages of `docs` agree with the code: what is written from it is current, what is written by hand is true."""

import re
from pathlib import Path

import pytest

from bytheway import method
from bytheway.families.known import presets
from tests.test_rooms import ARROWS
from tools.api import ROOT
from tools.pages import pages

PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "src").rglob("*.md")])
CODE = ("src", "research", "benchmarks", "tools", "tests/toys")
LINK = re.compile(r"\]\(([^)\s]+)\)")


def slugs(page: Path) -> set[str]:
    """What the headings of a page are called in links, as GitHub makes them."""
    found: set[str] = set()
    for heading in re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE):
        text = LINK.sub("", heading).replace("[", "")
        slug = re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")
        again = next(n for n in range(99) if (f"{slug}-{n}" if n else slug) not in found)
        found.add(f"{slug}-{again}" if again else slug)
    return found


def table(page: str, heading: str) -> list[list[str]]:
    """The cells of the first table under a heading, without its head."""
    text = (ROOT / page).read_text(encoding="utf-8").partition(f"\n{heading}\n")[2]
    rows = text[text.index("\n|") :].lstrip("\n").partition("\n\n")[0].splitlines()
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows[2:]]


@pytest.mark.parametrize("name", ["api.md", "families.md"])
def test_what_is_written_from_the_code_is_current(name: str) -> None:
    page = ROOT / "docs" / name
    assert page.read_text(encoding="utf-8") == pages()[page], "run python -m tools.pages"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for link in LINK.findall(page.read_text(encoding="utf-8")):
        if re.match(r"[a-z]+:", link):
            continue
        file, _, heading = link.partition("#")
        target = (page.parent / file).resolve() if file else page
        assert target.exists(), link
        assert not heading or heading in slugs(target), link


def test_the_index_has_every_page() -> None:
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    listed = {(ROOT / "docs" / link).resolve() for link in LINK.findall(index)}
    measured = {ROOT / "docs" / folder / "README.md" for folder in ("evidence", "benchmarks")}
    assert {*(ROOT / "docs").glob("*.md"), *measured} - {ROOT / "docs" / "README.md"} <= listed


def test_every_function_of_the_method_is_beside_its_equation() -> None:
    page = (ROOT / "docs" / "method.md").read_text(encoding="utf-8")
    public = {name for name, one in vars(method).items() if getattr(one, "__module__", "") == method.__name__}
    shown = set(re.findall(r"\[`(\w+)`\]\(api\.md#\w+\)", page))
    assert {name for name in public if not name.startswith("_")} - {"only_dc_is_low"} <= shown


def test_the_rooms_are_those_of_the_test() -> None:
    rows = table("docs/architecture.md", "## The rooms")
    named = {room: set(re.findall(r"`(\w+)`", may)) for room, _, may in rows}
    assert {room.removeprefix("[`").partition("`")[0]: may for room, may in named.items()} == ARROWS


@pytest.mark.parametrize(("page", "heading"), [("README.md", "## Config"), ("docs/joint_attention.md", "## Settings")])
def test_presets_are_the_declared_ones(page: str, heading: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8").partition(f"\n{heading}\n")[2]
    rows = re.findall(r"^\| `(\w+)`[^|]* \| ([\d.]+) \| ([\d.]+) \| (\d+) \|", text, re.MULTILINE)
    assert rows
    for name, *numbers in rows:
        config = presets()[name].config
        assert [f"{config.alpha:g}", f"{config.beta:g}", f"{config.tau}"] == numbers, name


def test_the_readme_is_short_and_begins_with_what_to_do() -> None:
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 150
    before = lines[: lines.index("```bash")]
    assert sum(line.startswith("|") for line in before) <= 5 + 2


def test_the_figures_of_the_readme_are_those_of_the_pages_it_names() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8").partition("\n## Figures\n")[2].partition("\n## ")[0]
    told = [(ROOT / "docs" / name / "README.md").read_text(encoding="utf-8") for name in ("evidence", "benchmarks")]
    figures = re.findall(r"\d+\.\d+", text)
    assert len(figures) >= 4
    assert [figure for figure in figures if not any(figure in page for page in told)] == []


@pytest.mark.parametrize("page", ["architecture.md", "glossary.md", "method.md", "families.md"])
def test_names_on_the_pages_are_names_in_the_code(page: str) -> None:
    files = [path for folder in CODE for path in (ROOT / folder).rglob("*.py")]
    known = {word for path in files for word in re.findall(r"\w+", path.read_text(encoding="utf-8") + str(path))}
    prose = re.sub(r"```.*?```", "", (ROOT / "docs" / page).read_text(encoding="utf-8"), flags=re.DOTALL)
    names = re.findall(r"`([A-Za-z_][\w.]*)(?:=[^`]*)?(?:\([^`]*\))?`", prose)
    assert len(names) > 10
    assert sorted({name for name in names if not set(re.findall(r"\w+", name)) <= known}) == []

"""The project's own files agree with each other."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from bytheway.families.known import presets

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
STUDY_ROW = r"\| (renders|vanilla|\+FreeInit|guidance only|motion only|both|diorama's preset) \| \**\d"


def constrained() -> dict[str, str]:
    """The version of each package in constraints.txt."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return dict(line.lower().replace("_", "-").split("==") for line in lines if not line.startswith("#"))


@pytest.mark.parametrize("group", ["dependencies", *PROJECT["optional-dependencies"]])
def test_constraints_pin_every_dependency_within_its_bounds(group: str) -> None:
    named = PROJECT["dependencies"] if group == "dependencies" else PROJECT["optional-dependencies"][group]
    pins = constrained()
    for requirement in map(Requirement, named):
        if requirement.name != PROJECT["name"]:
            assert pins[requirement.name.lower().replace("_", "-")] in requirement.specifier


def test_constraints_are_names_and_versions_only() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()[1:]
    assert lines
    for line in lines:
        assert re.fullmatch(r"[\w.-]+==[\w.]+", line), line


def test_ci_runs_the_readmes_test_commands() -> None:
    readme = (ROOT / "README.md").read_text()
    block = readme.partition("## Run the tests")[2].partition("```bash\n")[2].partition("```")[0]
    _, install, test = block.strip().splitlines()
    ci = (ROOT / ".ci" / "run").read_text().replace("pip install -q", "pip install").splitlines()
    assert install in ci
    assert test in ci


def test_no_pictures_are_in_the_wheel() -> None:
    """All under src/bytheway is; pictures are for the documentation."""
    pictures = {".png", ".gif", ".jpg", ".webp", ".mp4"}
    assert [path.name for path in (ROOT / "src").rglob("*") if path.suffix.lower() in pictures] == []


def test_citation_has_the_version_of_the_package() -> None:
    assert f"version: {PROJECT['version']}\n" in (ROOT / "CITATION.cff").read_text()


@pytest.mark.parametrize("page", ["README.md", "docs/evidence/README.md"])
def test_the_studys_tables_are_those_of_its_report(page: str) -> None:
    rows = [line for line in (ROOT / page).read_text().splitlines() if re.match(STUDY_ROW, line)]
    report = (ROOT / "docs" / "evidence" / "results.md").read_text().splitlines()
    assert rows
    assert [row for row in rows if row not in report] == []


def test_the_preset_of_diorama_is_the_one_that_the_report_found() -> None:
    config = presets()["diorama"].config
    found = re.search(r"^diorama: `(.*)`, optical flow", (ROOT / "docs/evidence/results.md").read_text(), re.MULTILINE)
    assert found is not None
    assert found[1].startswith(f"alpha{config.alpha:g}-beta{config.beta:g}-tau{config.tau}-")

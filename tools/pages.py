"""``python -m tools.pages``: writes what `docs` has from the code itself, `api.md` and the tables of `families.md`.

`tests/test_pages.py` fails where a page is not what this would write.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from bytheway.families.family import Family, JointAttentions
from bytheway.families.known import families, presets
from bytheway.families.unsupported import UNSUPPORTED
from bytheway.files import write_text
from research.markdown import table
from tools.api import ROOT, api

DOCS: Final = ROOT / "docs"


def family_tables() -> dict[str, str]:
    """The tables of `docs/families.md`, by their names in the markers around them."""
    rows = [
        (one.name, _listed(one.denoisers), _attention(one), f"`{one.presets[0].name}`", _listed(one.pipelines))
        for one in families()
    ]
    numbers = [
        (f"`{one.name}`", f"{one.config.alpha:g}", f"{one.config.beta:g}", str(one.config.tau), one.source, one.figure)
        for one in presets().values()
    ]
    refused = [(one.model, f"`{denoiser}`", f"It {one.reason}.") for denoiser, one in UNSUPPORTED.items()]
    return {
        "unsupported": table(("model", "denoiser", "why not"), refused),
        "families": table(("family", "denoisers", "attention", "preset", "pipelines"), rows),
        "presets": table(("preset", "alpha", "beta", "tau", "source", "measured"), numbers),
    }


def _attention(family: Family) -> str:
    if isinstance(family.attentions, JointAttentions):
        return "joint: motion enhancement"
    return "temporal: the whole method" if family.attentions.has_levels else "temporal, no levels: motion enhancement"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names) or "–"


def pages() -> dict[Path, str]:
    """What each page that is written from the code should say, by its path."""
    path = DOCS / "families.md"
    text = path.read_text(encoding="utf-8")
    for name, rows in family_tables().items():
        marked = re.compile(rf"(<!-- {name} -->\n).*?(\n<!-- end -->)", re.DOTALL)
        text = marked.sub(lambda match, rows=rows: match[1] + rows + match[2], text)  # type: ignore[misc]
    return {DOCS / "api.md": api(), path: text}


if __name__ == "__main__":
    for page, content in pages().items():
        write_text(page, content)

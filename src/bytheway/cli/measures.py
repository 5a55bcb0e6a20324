"""`bytheway measures`: what can be measured of clips."""

from bytheway.cli.errors import reported


def command() -> None:
    """List what can be measured of clips: each measure with its network, and what it says."""
    with reported():
        from bytheway.cli.tables import print_settings, print_table
        from bytheway.evaluation.choice import USUAL
        from bytheway.evaluation.measures.measure import KINDS

        print_table(
            ("name", "usual", "unit", "network"),
            (
                (
                    kind.name,
                    "yes" if kind.name in USUAL else "no",
                    kind.unit or "-",
                    (", ".join(kind.backbones) or "none") + (" (bring it: --bring)" if kind.brought else ""),
                )
                for kind in KINDS.values()
            ),
        )
        print_settings("what they say", {kind.name: kind.about for kind in KINDS.values()})

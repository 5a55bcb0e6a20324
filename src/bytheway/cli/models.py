"""`bytheway models`: the models known by name."""

from bytheway.cli.errors import reported


def command() -> None:
    """List the models known by name: architecture, preset, where they come from, whether they are here."""
    with reported():
        from bytheway.cli.tables import print_table
        from bytheway.models import known_models

        print_table(
            ("name", "architecture", "preset", "present", "comes from"),
            (
                (m.name, m.architecture, m.preset_in_words, "yes" if m.present else "no", m.source)
                for m in known_models()
            ),
        )

"""`bytheway models`: the models known by name."""

from bytheway.cli.errors import reported


def command() -> None:
    """List the models known by name: architecture, preset, source, whether they are here, and what they are."""
    with reported():
        from bytheway.cli.tables import print_settings, print_table
        from bytheway.models import known_models

        print_table(
            ("name", "architecture", "preset", "present", "comes from"),
            (
                (m.name, m.architecture, m.preset_in_words, "yes" if m.present else "no", m.source)
                for m in known_models()
            ),
        )
        print_settings("what they are", {m.name: m.description for m in known_models()})

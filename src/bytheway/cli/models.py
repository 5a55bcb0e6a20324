"""`bytheway models`: the models known by name."""

from bytheway.cli.errors import reported


def command() -> None:
    """List the models known by name: family, preset, source, whether they are here, and what they are."""
    with reported():
        from bytheway.cli.tables import print_settings, print_table
        from bytheway.families.known import family_of_model, known_models, preset_of_model
        from bytheway.models.registry import is_present, source_of

        print_table(
            ("name", "family", "preset", "present", "comes from"),
            (
                (
                    m.name,
                    family_of_model(m).name,
                    preset_of_model(m).name + ("" if m.measured else " (starting point)"),
                    "yes" if is_present(m) else "no",
                    source_of(m),
                )
                for m in known_models()
            ),
        )
        print_settings("what they are", {m.name: m.description for m in known_models()})

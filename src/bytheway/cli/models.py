"""`bytheway models`: the models known by name."""

from bytheway.cli.errors import reported


def command() -> None:
    """List the models known by name: family, preset and what was measured with it, source, and what they are."""
    with reported():
        from bytheway.cli.run import in_words
        from bytheway.cli.tables import print_settings, print_table, warn
        from bytheway.cli.words import with_option
        from bytheway.families.known import family_of_model, figure_of_model, known_models, preset_of_model
        from bytheway.models.registry import is_present, source_of
        from bytheway.tuning.presets import tuned_presets

        models = known_models()
        print_table(
            ("name", "family", "present", "comes from"),
            ((m.name, family_of_model(m).name, "yes" if is_present(m) else "no", source_of(m)) for m in models),
        )
        presets = [(m.name, preset_of_model(m), figure_of_model(m)) for m in models]
        print_table(
            ("name", "preset", "settings of", "measured"),
            ((name, preset.name, preset.source, figure) for name, preset, figure in presets),
        )
        tuned, refused = tuned_presets()
        if tuned:
            heads = ("tuned here", "settings", "gain on held-out prompts", "for --config")
            gains = ["; ".join(f"{name} {gain}" for name, gain in one.gains.items()) for _, one in tuned]
            rows = (
                (one.model, in_words(one.config), gain, path) for gain, (path, one) in zip(gains, tuned, strict=True)
            )
            print_table(heads, rows)
        for sentence in refused:
            warn(sentence)
        print_settings("what they are", {m.name: with_option(m.description, m.start) for m in models})

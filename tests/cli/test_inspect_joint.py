"""`bytheway inspect` of models with joint space-time attention."""

import pytest

from tests.toys.joint import FACTORIES


def rows_and_settings(lines):
    header, *rows = (line.split("\t") for line in lines if "\t" in line)
    assert header == ["block", "sites", "resolution", "heads", "role"]
    return rows, dict(line.split(": ", 1) for line in lines if ": " in line)


@pytest.mark.parametrize(
    ("name", "architecture", "rows", "tokens"),
    [
        # 13 frames of 48x32.
        ("cogvideox", "CogVideoX", [["transformer_blocks", "2", "3x2", "2", "motion"]], "24 of the video, 4 latent"),
        # 81 frames of 832x480, in both transformers.
        ("wan_2_2", "Wan", [["blocks", "2", "52x30", "2", "motion"]] * 2, "32760 of the video, 21 latent"),
        # Without those that read the control.
        ("wan_vace", "Wan VACE", [["blocks", "2", "52x30", "2", "motion"]], "32760 of the video, 21 latent"),
        # A section of 832x480.
        (
            "framepack",
            "FramePack",
            [[f"{kind}transformer_blocks", "1", "52x30", "2", "motion"] for kind in ("single_", "")],
            "14040 of the video, 9 latent",
        ),
        (
            "hunyuanvideo",
            "HunyuanVideo",
            [[f"{kind}transformer_blocks", "1", "80x45", "2", "motion"] for kind in ("single_", "")],
            "118800 of the video, 33 latent",
        ),
    ],
)
def test_lists_of_blocks_instead_of_layers(bytheway, monkeypatch, name, architecture, rows, tokens):
    pipe, _ = FACTORIES[name]()
    monkeypatch.setattr("bytheway.models.choice.load", lambda model, **choice: pipe)
    result = bytheway("inspect", "some/model")
    assert result.exit_code == 0, result.output
    found, settings = rows_and_settings(result.stdout.splitlines())
    assert found == rows
    assert settings["family"].startswith(f"{architecture} (")
    assert ": alpha 0, beta 1.5, tau " in f": {settings['preset']}"
    assert settings["tokens"].startswith(tokens)

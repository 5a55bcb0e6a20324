"""What importing the package costs and offers, each in an interpreter of its own."""

import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version

import pytest

import bytheway
import bytheway.attention


def run_python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize(
    "statement",
    [
        "import bytheway",
        "import bytheway; bytheway.__version__",
        "import bytheway; dir(bytheway)",
        "from bytheway import ByTheWayConfig, ByTheWayError; ByTheWayConfig().to_dict()",
        "from bytheway.attention import Layout; Layout(2, 1, (4, 4))",
        "import bytheway.attention; dir(bytheway.attention)",
        "import bytheway.families.known",
    ],
)
def test_settings_and_names_need_no_torch(statement):
    heavy = run_python(
        f"{statement}\nimport sys\nprint({{'torch', 'diffusers', 'numpy', 'jaxtyping'}} & set(sys.modules))"
    )
    assert heavy == "set()"


def test_requests_are_checked_before_anybody_waits_for_torch():
    code = "import bytheway.generation.request as g, sys; g.Request(('a ball',), 1)"
    assert run_python(f"{code}\nprint({{'torch', 'diffusers', 'transformers'}} & set(sys.modules))") == "set()"


def test_attention_needs_no_diffusers():
    """Nor what comes with it: the core is for any network, given query, key and value."""
    code = (
        "import sys, torch, bytheway.attention as room\n"
        "rows, layout = torch.randn(8, 2, 16, 4), room.Layout(2, 1, (2, 2))\n"
        "config = __import__('bytheway').ByTheWayConfig()\n"
        "anchor = room.attend(rows, rows, rows, layout, config, scale=0.5, keep_map=True).anchor\n"
        "attended = room.attend(rows, rows, rows, layout, config, scale=0.5, anchor=anchor)\n"
        "assert attended.output.shape == rows.shape\n"
        "print({'diffusers', 'transformers', 'accelerate'} & set(sys.modules))"
    )
    assert run_python(code) == "set()"


@pytest.mark.parametrize("package", [bytheway, bytheway.attention])
def test_every_public_name_is_listed_and_there(package):
    assert set(package.__all__) <= set(dir(package))
    for name in package.__all__:
        assert getattr(package, name) is not None


def test_lazy_names_are_those_of_their_modules():
    from bytheway.config import ByTheWayConfig
    from bytheway.errors import ByTheWayError

    assert bytheway.ByTheWayConfig is ByTheWayConfig
    assert bytheway.ByTheWayError is ByTheWayError
    assert issubclass(ByTheWayError, ValueError)


@pytest.mark.parametrize("package", [bytheway, bytheway.attention])
def test_unknown_name_is_an_attribute_error(package):
    with pytest.raises(AttributeError, match=f"'{package.__name__}' has no attribute 'make_it_good'"):
        _ = package.make_it_good


def test_version_is_that_of_the_installed_package():
    try:
        expected = version("bytheway")
    except PackageNotFoundError:
        expected = "0+unknown"
    assert bytheway.__version__ == expected

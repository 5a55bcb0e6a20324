"""What importing the package costs and offers, each in an interpreter of its own."""

import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version

import pytest

import bytheway


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
    ],
)
def test_settings_and_names_need_no_torch(statement):
    heavy = run_python(f"{statement}\nimport sys\nprint({{'torch', 'diffusers', 'numpy'}} & set(sys.modules))")
    assert heavy == "set()"


def test_requests_are_checked_before_anybody_waits_for_torch():
    code = "import bytheway.generation.request as g, sys; g.Request(('a ball',), 1)"
    assert run_python(f"{code}\nprint({{'torch', 'diffusers', 'transformers'}} & set(sys.modules))") == "set()"


def test_every_public_name_is_listed():
    assert set(bytheway.__all__) <= set(dir(bytheway))


def test_lazy_names_are_those_of_their_modules():
    from bytheway.config import ByTheWayConfig
    from bytheway.errors import ByTheWayError

    assert bytheway.ByTheWayConfig is ByTheWayConfig
    assert bytheway.ByTheWayError is ByTheWayError
    assert issubclass(ByTheWayError, ValueError)


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'make_it_good'"):
        _ = bytheway.make_it_good


def test_version_is_that_of_the_installed_package():
    try:
        expected = version("bytheway")
    except PackageNotFoundError:
        expected = "0+unknown"
    assert bytheway.__version__ == expected

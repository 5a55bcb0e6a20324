"""The trial of the kernels on their first use; test_triton.py runs this in Triton's interpreter."""

import threading
import warnings
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
import triton
import triton.language as tl
from torch.utils._python_dispatch import TorchDispatchMode

from bytheway import ByTheWayConfig
from bytheway.attention import attend, whole
from bytheway.attention.layout import Layout
from bytheway.attention.triton import guided, registers, trial
from bytheway.attention.triton.deviation import Site, deviations_of
from tests.attention.triton_cases import GUIDANCE, SQUARE, make_site, products_of_bfloat16  # noqa: F401

ODD = Layout(parts=2, conditional=1, height_width=(3, 2))


@pytest.fixture(autouse=True)
def nothing_tried(monkeypatch):
    monkeypatch.setattr(trial, "_trusted", {})


@pytest.fixture
def trials(monkeypatch):
    """The config of each evaluation of whole maps; a trial makes two."""
    made, evaluate = [], whole.guided_attention
    monkeypatch.setattr(whole, "guided_attention", lambda *args, **kw: made.append(args[6]) or evaluate(*args, **kw))
    return made


def site_of(layout=GUIDANCE, frames=8, channels=16, config=None, **options):
    query, key, value, anchor = make_site(layout, frames, channels, **options)
    return Site(query, key, value, layout, anchor, channels**-0.5, config or ByTheWayConfig())


def attended(site):
    query, key, value, layout, anchor, scale, config = site
    return attend(query, key, value, layout, config, scale=scale, anchor=anchor, measure=True)


def deviations(site):
    return {one.what: one for one in deviations_of(site, *guided.guided_attention(*site))}


PAPER, LARGE = ByTheWayConfig(), ByTheWayConfig(beta=10)
LEAST = ByTheWayConfig(alpha=1, beta=1, tau=3, beta_rule="ratio")


@pytest.mark.parametrize(
    ("frames", "channels", "dtype", "config"),
    [
        (1, 8, torch.float32, PAPER),
        (8, 40, torch.float16, LEAST),
        (8, 40, torch.float32, LARGE),
        (16, 64, torch.bfloat16, PAPER),
        (16, 80, torch.float32, LEAST),
        (25, 160, torch.float16, LARGE),
        (64, 40, torch.float32, PAPER),
        (64, 80, torch.bfloat16, LARGE),
    ],
)
def test_what_is_right_is_within_its_roundings(frames, channels, dtype, config):
    found = deviations(site_of(frames=frames, channels=channels, dtype=dtype, heads=2, videos=2, config=config))
    assert found.keys() == {"output", "energy", "disparity", "beta", "enhanced energy"}
    for one in found.values():
        assert one.explained(), str(one)


@pytest.mark.parametrize(("dtype", "most"), [(torch.float32, 2e-3), (torch.float16, 2e-2), (torch.bfloat16, 0.1)])
def test_roundings_explain_little(dtype, most):
    """Of values of up to 4, energies below 1 and a beta of 1.5."""
    for one in deviations(site_of(frames=16, channels=40, dtype=dtype)).values():
        assert one.allowed.max() < most * (4 if one.what == "output" else 1), str(one)


def test_where_nothing_can_be_amplified():
    """Nothing is left of flat maps but rounding, and beta may be anything that the output shows nothing of."""
    site = site_of(config=ByTheWayConfig(alpha=1))
    flat = site.anchor._replace(attn=torch.full_like(site.anchor.attn, 1 / 8))
    assert all(one.explained() for one in deviations(site._replace(anchor=flat)).values())


def test_a_kernel_is_tried_once_for_each_kind(trials):
    site = site_of()
    first = attended(site)
    assert len(trials) == 2
    assert torch.equal(attended(site).output, first.output)
    attended(site_of(ODD, videos=2, config=ByTheWayConfig(alpha=0.3)))
    assert len(trials) == 2
    for other in ({"frames": 7}, {"channels": 24}, {"dtype": torch.float16}, {"heads": 2}):
        before = len(trials)
        attended(site_of(**other))
        attended(site_of(**other))
        assert len(trials) == before + 2


def test_nothing_is_fetched_after_the_first_use():
    site = site_of()
    fetched = []

    class Fetches(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            if "_local_scalar_dense" in str(function) or "is_nonzero" in str(function):
                fetched.append(function)
            return function(*args, **(kwargs or {}))

    with Fetches():
        attended(site)
        assert fetched
        fetched.clear()
        attended(site)
    assert not fetched


@triton.jit
def half_projector(projector, FRAMES: tl.constexpr, BLOCK_F: tl.constexpr):
    return registers.load_projector(projector, FRAMES, BLOCK_F) * 0.5


@triton.jit
def beta_of_nothing(
    sums, measures, programs, maps, least, FRAMES: tl.constexpr, SQRT: tl.constexpr, CHUNK: tl.constexpr
):
    video = tl.program_id(0)
    for row in tl.static_range(4):
        tl.store(measures + row * tl.num_programs(0) + video, least * 1.01)


def refuses(*args, **options):
    raise RuntimeError("out of resource: shared memory")


class Refusing:
    def __getitem__(self, grid):
        return refuses


def off_by_a_percent(kernel):
    def wrong(*args):
        output, measures = kernel(*args)
        return output * 1.01, measures

    return wrong


WRONG = {
    "projector": ("load_projector", half_projector, "its (output|beta)"),
    "beta": ("_settle", beta_of_nothing, "its energy"),
    "does not run": ("_attend", Refusing(), r"it does not run \(RuntimeError: out of resource"),
    "a percent": ("guided_attention", off_by_a_percent(guided.guided_attention), "its output"),
}


@pytest.mark.parametrize(("name", "kernel", "words"), WRONG.values(), ids=WRONG)
def test_a_wrong_kernel_is_left_out(monkeypatch, name, kernel, words):
    """With one warning that says for what and why; the site gets what it should."""
    site = site_of(frames=12, heads=2)
    expected = whole.guided_attention(*site, measure=True)
    monkeypatch.setattr(guided, name, kernel)
    match = f"left out for 12 frames and 2 heads of 16 channels in float32 on cpu: {words}"
    with pytest.warns(UserWarning, match=match) as warned:
        first = attended(site)
    assert len(warned) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        second = attended(site)
    for found in (first, second):
        torch.testing.assert_close(found.output, expected.output, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(found.measures.beta, expected.measures.beta, rtol=1e-4, atol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_the_wrong_anchor_is_seen(dtype):
    """In every precision."""
    site = site_of(dtype=dtype, videos=2)
    output = guided.guided_attention(*site._replace(anchor=site.anchor._replace(attn=site.anchor.attn.flip(0))))
    assert not all(one.explained() for one in deviations_of(site, *output))


def test_other_kinds_stay(monkeypatch):
    kernel, site = guided.guided_attention, site_of()
    wrong = off_by_a_percent(kernel)
    monkeypatch.setattr(guided, "guided_attention", lambda *args: (wrong if args[0].shape[2] == 8 else kernel)(*args))
    with pytest.warns(UserWarning, match="left out for 8 frames"):
        attended(site)
    attended(site_of(frames=16))
    assert sorted(trial._trusted.values()) == [False, True]


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # of the interpreter's numpy
def test_what_is_not_finite_shows_nothing(trials):
    site = site_of()
    bad = site._replace(query=torch.full_like(site.query, torch.nan))
    assert attended(bad).output.isnan().all()
    assert trial._trusted == {}
    attended(site)
    assert list(trial._trusted.values()) == [True]


def test_a_large_site_is_tried_in_rows_of_its_first_image(trials, monkeypatch):
    layout = Layout(parts=2, conditional=1, height_width=(6, 3))
    site = site_of(layout, videos=2, anchor_size=(3, 2))
    monkeypatch.setattr(trial, "MAX_ELEMENTS", 2 * 3 * 8**2)
    cut = trial._cut(site)
    assert (cut.layout, cut.anchor.layout) == (Layout(1, 0, (2, 3)), Layout(1, 0, (1, 2)))
    assert trial._kind_of(cut) == trial._kind_of(site)
    assert torch.equal(cut.query, site.query[:6])
    assert torch.equal(cut.anchor.attn, site.anchor.attn[:2])
    expected = guided.guided_attention(*site)[0]
    assert torch.equal(attended(site).output, expected)
    assert list(trial._trusted.values()) == [True]


def test_threads_make_one_trial(trials, monkeypatch):
    """And give one warning."""
    monkeypatch.setattr(guided, "guided_attention", off_by_a_percent(guided.guided_attention))
    site, together = site_of(), threading.Barrier(4)

    def at_once(_):
        together.wait()
        return trial.trusted_attention(site)

    with pytest.warns(UserWarning, match="left out") as warned, ThreadPoolExecutor(4) as threads:
        assert list(threads.map(at_once, range(4))) == [None] * 4
    assert len(warned) == 1
    assert len(trials) == 2


def test_no_trial_while_torch_compile_traces(monkeypatch):
    monkeypatch.setattr(trial, "trusted_attention", lambda site: pytest.fail("tried"))
    site = site_of()
    expected = whole.guided_attention(*site).output
    found = torch.compile(attended, backend="eager", fullgraph=True)(site)
    torch.testing.assert_close(found.output, expected)

"""What each site of a pipeline should compute, from its weights and the definition, with whole maps."""

import torch
from torch import nn

from bytheway import ByTheWayConfig, method
from bytheway.families.sites import find_sites


class Watch:
    """Input and output of every site of one denoiser, call by call, while the context lasts."""

    def __init__(self, denoiser, config=None, attentions=None):
        self.denoiser = denoiser
        self.config = config or ByTheWayConfig()
        self.attentions = attentions
        self.seen = {}

    def __enter__(self):
        self.handles = [
            site.module.register_forward_hook(self.note(site.path), with_kwargs=True)
            for site in find_sites(self.denoiser, self.config, self.attentions)
        ]
        return self

    def __exit__(self, *_):
        for handle in self.handles:
            handle.remove()

    def note(self, path):
        def hook(module, args, kwargs, output):
            self.seen.setdefault(path, []).append((args[0], output))

        return hook


def own_output(module, hidden_states):
    """What the module computes without any hook."""
    return type(module).forward(module, hidden_states)


def explicit_map(module, hidden_states, size):
    """(batch, pixels, heads, F, F)."""
    query, key = (
        projection(hidden_states).unflatten(-1, (module.heads, -1)).transpose(1, 2)
        for projection in (module.to_q, module.to_k)
    )
    attn = (query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5).softmax(-1)
    return attn.unflatten(0, (-1, size[0] * size[1]))


def explicit_output(module, hidden_states, attn):
    value = module.to_v(hidden_states).unflatten(-1, (module.heads, -1)).transpose(1, 2)
    project = module.to_out[0] if isinstance(module.to_out, nn.ModuleList) else module.to_out
    return project((attn.flatten(0, 1) @ value).transpose(1, 2).flatten(2))


def roundings(output):
    """What a module's output may be off by where a batch of another size, or other threads, add in another order.

    Scores, values and the output's projection are sums over the channels: each rounds once a term, at most by half a
    step of float32 at the largest output, and so does the other order.
    """
    return 3 * output.shape[-1] * torch.finfo(output.dtype).eps * output.abs().max().item()


def check_enhanced_sites(denoiser, seen, config, sizes, conditional, attentions=None):
    """Every call that was seen is the paper's form: the n-th of a site is guided by the n-th of its anchor.

    Args:
        sizes: height and width of each block that takes part.
        conditional: see `method.bytheway_map`.
        attentions: see `find_sites`.

    Returns:
        how many calls were checked.
    """
    anchors, checked = {}, 0
    for site in find_sites(denoiser, config, attentions):
        for number, (hidden_states, output) in enumerate(seen[site.path]):
            own = own_output(site.module, hidden_states)
            if site.role == "observed":
                torch.testing.assert_close(output, own, rtol=0, atol=roundings(own))
                continue
            attn = explicit_map(site.module, hidden_states, sizes[site.block])
            assert len(attn) == len(conditional)
            if site.role == "guided":
                anchor, anchor_size = anchors[site.partner, number]
                reference = method.resample_map(anchor, anchor_size, sizes[site.block], site.heads)
            else:
                reference = attn
                anchors[site.index, number] = attn, sizes[site.block]
            enhanced_map = method.bytheway_map(
                attn, reference, config.alpha, config.beta, config.tau, conditional=torch.tensor(conditional)
            )
            torch.testing.assert_close(output, explicit_output(site.module, hidden_states, enhanced_map))
            assert (output - own).abs().max() > 1e-3
            checked += 1
    return checked

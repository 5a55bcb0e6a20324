"""Nodes for ComfyUI: the method on AnimateDiff-Evolved and on ComfyUI's own video models, and the package's pipelines.

Nothing of ComfyUI is changed. A node puts a wrapper on a clone of the model, which acts for one forward of the denoiser
at a time and undoes what it did, also after an error. The mathematics is that of `bytheway.attention`; what is here
reads ComfyUI's objects, whose attributes are listed in `tests/comfyui/listed.py`. May import `selection`,
`tuning` and below, and ComfyUI inside of functions or in the files of nodes.
"""

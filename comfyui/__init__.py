"""ByTheWay's nodes for ComfyUI: this folder goes into `custom_nodes`; the nodes are in the package `bytheway`."""

from bytheway.comfyui.extension import comfy_entrypoint

WEB_DIRECTORY = "./web"

__all__ = ["WEB_DIRECTORY", "comfy_entrypoint"]

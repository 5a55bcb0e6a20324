"""Clips in memory, out of files and into them, beside each other, and the images and videos that a clip starts from.

A clip is an array of frames (`frames.Frames`); every file that is written carries the settings it was made with.
May import `files` and `errors` alone, and no torch: a command reads its files before it waits for a model.
"""

from bytheway.clips.frames import Frames, as_frames
from bytheway.clips.inputs import ImageInput, VideoInput, fit, read_image, read_video
from bytheway.clips.read import load_video, read_metadata
from bytheway.clips.sheets import contact_sheet, enlarge, side_by_side
from bytheway.clips.write import check_output, save_video

__all__ = [
    "Frames",
    "ImageInput",
    "VideoInput",
    "as_frames",
    "check_output",
    "contact_sheet",
    "enlarge",
    "fit",
    "load_video",
    "read_image",
    "read_metadata",
    "read_video",
    "save_video",
    "side_by_side",
]

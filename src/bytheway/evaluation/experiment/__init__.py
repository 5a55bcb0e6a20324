"""Experiments: the same prompts and seeds under several arms, made, measured and compared in one folder.

`arms` is what is compared, `folder` what stands on disk, `make` makes the clips that are missing, `scoring` measures
them, and `report` tells. A killed experiment goes on where it stopped.
"""

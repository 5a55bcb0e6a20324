"""Settings for a model: what the maps of its vanilla clips ask for, or what a search on measured clips finds.

`derive` is the mathematics of the first, `observing` records first steps, `auto` draws the conclusions, and `resolving`
does so where a config leaves something to the model. `search` proposes trials, which race (`racing`) over clips that
are measured (`clips`, `objectives`); `outcome` tells what came of it. May import `evaluation`, `diagnosis` and below.
"""

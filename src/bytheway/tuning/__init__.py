"""Settings that find themselves: what the maps of a model's vanilla clips say that the method should do to it.

`derive` is the mathematics, `observing` records the first steps of clips, `auto` draws the conclusions. No clip is
judged. May import `generation`, `diagnosis` and what is below.
"""

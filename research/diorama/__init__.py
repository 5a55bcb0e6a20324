"""The recipe of the embedded model: a procedural world, its captions, and the training on them."""

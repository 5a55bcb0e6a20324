"""How good clips are: measures of them, what they say of two sets of clips, and experiments that make the clips.

Numbers come with their uncertainty, which is that over prompts. Nothing here imports torch before a measure or a model
needs it. May import `generation`, `record` and below.
"""

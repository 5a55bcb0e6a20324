"""What clips are worth: measures of finished clips, anybody's, and what they say of two sets of them.

`measures` has the measures, each a file; `scores` are theirs of many clips, `comparison` is of pairs, `experiment`
makes the clips, `judge` asks a multimodal model about them, and `votes` asks people. Numbers come with their
uncertainty over prompts. May import `generation`, `record` and what is below.
"""

"""What clips are worth: measures of finished clips, for anybody's clips.

`measures` has them; each is one file. May import `generation`, `record` and what is below.
"""

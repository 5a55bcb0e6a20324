"""From prompts to clips, on a loaded pipeline: a request is checked into a job, and the job made clip by clip.

Public: `run.generate`, `request.Request`, `job.Job` and `job.check`, `clip.Clip`, `sample.Step`. Nothing here imports
torch before clips are made. May import `models`, `apply`, `clips` and below.
"""

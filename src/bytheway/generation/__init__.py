"""From prompts to clips, on a loaded pipeline. May import `models`, `apply`, `clips` and below."""

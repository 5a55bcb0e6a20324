"""The method on a pipeline: hooks that follow its calls. May import `families`, `record` and below."""

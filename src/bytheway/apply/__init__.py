"""The method on a pipeline: hooks on its modules, which follow its calls and act in the active steps.

Public, from `api`: `apply_bytheway`, `remove_bytheway`, `enhanced`, `observe` and the `Run` that the last two hand out.
May import `families`, `record` and below.
"""

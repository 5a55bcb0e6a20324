"""A thousand clips on many machines: a jobs file planned into tasks with ids, made by workers, each clip written once.

Public: `rows.read_rows`, `plan.Plan`, `store.open_store`, `driver.Driver`, the pools `local.LocalPool` and
`farm.RayPool`. Nothing but `farm` imports Ray, and only workers import torch. May import `evaluation` and below.
"""

"""Every family with every feature: one table of tests, written to docs/matrix.md by `python -m tests.matrix`.

A row is a pipeline (`rows`), a column is a feature (`features`), and each cell is one test: the feature's own, or,
where the cell cannot be, one of the reason (`reasons`).
"""

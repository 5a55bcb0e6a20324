"""Measures of finished clips, each in a file of its own.

`measure` says what a measure gives and which there are, `loading` makes them ready.
"""

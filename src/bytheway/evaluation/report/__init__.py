"""What is shown of an evaluation: words for terminals, and pages for browsers.

`words` says numbers, `plots` draws them as SVG, `strips` are clips as single pictures, `cards` has the clips of a page
side by side, and `page` puts all of it together.
"""

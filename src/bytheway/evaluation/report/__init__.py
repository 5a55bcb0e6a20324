"""What is shown of an evaluation: tables for terminals and Markdown, and pages for browsers.

`words` says numbers, `plots` draws them as SVG, `strips` are clips as single pictures, `page` puts all of it together.
"""

"""What each family of models is: a declaration a file, and how it is read against a pipeline.

Public: `family.Family` and what it is made of, `known.families`, `known.declare` and `known.presets`, and
`sites.TemporalAttention` for denoisers that nobody declares. Declarations name classes and import none.
May import `attention` and below.
"""

"""What a record tells of a clip: findings in sentences, predictions after the active steps, pictures.

`curves` makes numbers of a record, and `findings` holds them against limits whose sources it says. `prediction` tells
what the clip is going to be, by a `fit` of the model where `store` has one. Pictures are drawn with matplotlib. Public:
`curves.curves_of`, `findings.diagnose`, `prediction.predict`, `store.find_fit`, `figures.draw_curves` and `draw_maps`,
`maps.watch_maps`. May import `families`, `record` and below.
"""

"""The best of several seeds: all begin, and after the active steps the most promising go on.

Public: `best.best_of`, `best.Choice`, `best.Candidate`, `best.check_choice`; `words` tells a choice; `learning.learn`
fits what a model's first steps tell of its clips. May import `evaluation`, `diagnosis` and below.
"""

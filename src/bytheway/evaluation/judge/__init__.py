"""A multimodal model as judge: it is shown two clips of one prompt and says which is better, question by question.

`asking` makes a question a request, `endpoint` sends it, `store` keeps every answer that was paid for, `budget` counts
what they cost, `run` asks what has not been asked yet, and `summary` and `results` say what the judge said.
"""

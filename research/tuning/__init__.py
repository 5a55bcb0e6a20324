"""What settings are worth that are found for a model, by its maps or by searches, against the paper's and by hand."""

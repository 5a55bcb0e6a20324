"""The networks that measures are made with: a class each, which holds one and says what it is."""

"""A loop that learns, evaluates and chooses by itself, and writes down every step of it."""

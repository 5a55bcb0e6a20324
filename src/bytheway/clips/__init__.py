"""Clips in and out of files, and what they start from. May import `files` and `errors` alone, and no torch."""

"""What each family of models is: a declaration a file, and how it is read. May import `attention` and below."""

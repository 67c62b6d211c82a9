"""Who may do what in a net: the closed set of roles, what excludes what, who holds them, by whose signatures."""

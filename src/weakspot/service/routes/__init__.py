"""The routes, by what they are about. Each reads, calls one function, answers."""

"""Requests as work that the dispatcher does in turns; `registry` says which function does which."""

"""A record that kills the process is found, in a process that may be killed, and rejected.

attempts.py    where workers died, counted beside the committed offset; whose turn it is
quarantine.py  which rows of a batch are worked on, and which are tried first
sandbox.py     the child that they are tried in, as its parent sees it
trial.py       what the child does
"""

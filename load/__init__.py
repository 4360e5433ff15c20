"""Measurements of the worker beside its rivals, on a broker of their own: ``python -m load --help``.

events.py   the events: real rows under 200 host names, made by the million
stand.py    a broker, a model, topics, and the process under test
peers/      the rivals, each written as its own users would
check.py    reads back what a run wrote: each event once, each score equal to a recomputation
drain.py    how fast a topic filled beforehand is worked off
paced.py    how late scores are at a steady rate
report.py   tables and JSON
"""

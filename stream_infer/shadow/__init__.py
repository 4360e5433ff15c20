"""A candidate model beside the running worker: the same events, the same stages, a comparison per event.

source.py    ShadowSource: input, scored and reject topic, read as one member of a group
pairing.py   Pairing: one partition's input rows held until the primary has decided on them
merge.py     merge: which rows are decided, in source-offset order (pure)
rows.py      the rows of the three topics, and queues of them
primary.py   what the primary wrote, decoded; how far its group is
outcomes.py  Outcomes: what the primary said of the rows of a batch
start.py     where a shadow begins: at the end, where the primary is, at an offset or a time
publish.py   ComparisonPublisher: the stage that writes

A shadow is a worker with another source and another publisher; loop, state, restore and delivery are the worker's.
"""

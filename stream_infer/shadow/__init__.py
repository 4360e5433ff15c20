"""A candidate model beside the running worker: the same events, the same stages, a comparison per event.

source.py    ShadowSource: batches of input rows that the primary has decided on
member.py    Member: input, scored and reject topic, read as one member of a group
pairing.py   Pairing: one partition's input rows held until the primary has decided on them
merge.py     merge: which rows are decided, in source-offset order (pure)
rows.py      the rows of the three topics, and queues of them; batches.py: ranges of batches
primary.py   what the primary wrote, decoded
standing.py  how far the primary is, and where things lie in its topics
outcomes.py  Outcomes: what the primary said of the rows of a batch
start.py     where a shadow begins and ends
draft.py     Draft: both sides of each row -> pairs
publish.py   ComparisonPublisher: the stage that writes
restarts.py  Restarts: one that dies again and again waits before it starts

A shadow is a worker with another source and another publisher; loop, state, restore and delivery are the worker's.
"""

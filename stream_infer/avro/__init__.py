"""Avro, both ways, a batch at a time.

    schema     text -> types: names resolved, hostile schemas refused
    compiler   types + wanted fields -> a program
    kernel     runs a program over the rows of a batch (numba)
    decoder    Batch -> Columns, Rejects, and rows that wait for the registry
    encoder    Columns + Scores -> scored events
    source     where writer schemas come from: registry, directory, or one fixed file

Modules are imported by name, so that those who only want ``Fields`` do not load numba.
"""

__all__: list[str] = []

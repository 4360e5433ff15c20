"""Measurements of the worker beside its rivals, on a broker of their own: ``python -m load --help``.

what is measured with
    traffic.py events.py     events: real rows under the names of 200 hosts or a million units, made by the million
    autoencoder.py           the model
    stand.py run.py          a broker, models, and the programs under test
    topics.py                topics filled and counted
    rivals.py peers/         the rivals, each written as its own users would
    check.py                 reads back what a run wrote: each event once, each score equal to a recomputation
    processes.py stages.py   CPU and memory of a tree of processes, who else used the machine; seconds per stage

scenarios
    drain.py paced.py        how fast a full topic is worked off; how late scores are at a steady rate
    width.py keys.py         what features and entities cost
    workers.py restore.py    how much more several workers do; how long a new one needs
    idle.py                  what it takes to wait
    scenarios.py plan.py     all of them by name, and how large they are

what comes out
    measurement.py           one run; spread and ratio of several
    figures.py report.py     tables and JSON
    page.py plots.py         one page of HTML

what it takes
    costs.py costs.json      costs fitted to measurements
    capacity.py planning.py  what a load takes, and what breaks first
    gpu_bench.py             the scoring stage beside the bare model

recover.py, replay.py, shadow.py and beside.py are commands of their own: faults, real data, a shadow.
"""

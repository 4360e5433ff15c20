"""Faults, on purpose: the rig that proves what docs/delivery.md promises.

    python -m tests.chaos list                        the scenarios and their faults
    python -m tests.chaos run NAME --seed 7 --protocol classic --duration 60
    make chaos ARGS="--minutes 60"                    rounds: all scenarios, protocols, lanes, versions of Kafka
    python -m tests.chaos failpoints --times 20       every failpoint so often, with each protocol
    python -m tests.chaos mutants                     wrong workers, each in the scenario that must catch it
    make soak ARGS="--minutes 60"                     one long composite run
    python -m tests.chaos merge DIR… -o docs/reliability.json
    python -m tests.chaos page                        docs/reliability.md from it

A run is: three brokers (``cluster``), one deployment with its workers (``rig``), a producer that knows what the brokers
took (``ledger``), a read_committed reader through the faults (``reader``), the faults of one scenario, then quiet, a
fresh reader, and the verdict (``checker``). The report (``report``) names the seed; the same seed gives the same
schedule of faults and the same poison.

How to add a scenario: write a function in a module ``tests/chaos/scenarios_*.py`` (found by its name), ::

    @scenario("worker-kill", faults=("kill -9 of a worker",), workers=3)
    def worker_kill(rig: Rig, random: Random) -> None:
        while rig.goes_on():                          # until --duration is over
            slot = random.randrange(rig.count)
            rig.fault("kill -9 of a worker", slot)    # say it first: it is counted, with its time
            rig.workers[slot].kill()
            rig.wait(random.uniform(0.5, 2.0))        # sleeps; restarts workers that ended by themselves
            rig.start(slot)

- ``settings={"delivery": {"slot": ...}, "kafka.consumer": {"session.timeout.ms": 3000}}`` of the decorator are the
  worker's settings; ``rig.start(slot, bootstrap="127.0.0.1:1", patches=("tests.chaos.mutants:no_rewind",), KEY=value)``
  gives one worker a proxy between it and the brokers, changes of its code, and settings (``SECTION__KEY``);
  ``environment={"NAME": "value"}`` gives it variables as they are. ``rig.before_start`` is a hook for
  a scenario's own surroundings: called with each ``Start`` before the process is made.
- ``rig.cluster`` has the brokers: ``leader_of``, ``group_coordinator``, ``transaction_coordinator``, ``kill``...
- A scenario that asks nothing of its rig is played by the ``relay``: one after the other on the same deployment, which
  costs one set-up and one verdict for hundreds of faults.
- ``proxied=True`` puts all workers behind ``rig.cluster.network`` (``proxy.py``), which holds, delays, drops and cuts
  requests by kind, broker and worker; ``nemesis_network.py`` has the faults made of that.
- ``rig.ledger.inject(value, partition)`` sends a payload of the scenario's own; it must come out as a reject
  (``deadly=True``: although a model could score it).
- The end is the rig's: it resumes and restarts everything, waits for quiet and judges. Nothing is to be cleaned up but
  what the scenario itself made (``rig.closing.callback``).
- A patch is a function that takes the built ``stream_infer.service.Service`` in the worker's process (``worker.py``),
  before it runs; it may as well patch classes.
- A test calls ``run_scenario(name, cluster=..., seed=..., protocol=..., duration_s=...)`` and looks at its report.
"""

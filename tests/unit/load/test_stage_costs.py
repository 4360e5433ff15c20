"""The stages between poll and commit are timed beside the copies that an undo needs."""

from load.stage_costs import STAGES, stage_costs
from load.traffic import HOSTS


def test_every_stage_is_timed():
    few, many = stage_costs((HOSTS, 30_000), (2_000,), 2, lambda _: None)

    assert tuple(few.stage_us) == tuple(many.stage_us) == STAGES
    assert min(*few.stage_us.values(), *many.stage_us.values()) > 0
    assert 0 < few.rows_us < many.rows_us, "of few entities few rows are copied"
    assert len(few.row) == 2 + len(STAGES) + 3

"""What a worker's log says of how long brokers let it wait."""

import pytest

from tests.chaos.recovery import coordinator_wait_s

LOG = """\
2026-11-30T02:34:03.174Z WARNING waiting for the transaction coordinator reason="Timed out"
2026-11-30T02:34:04.536Z INFO rewound reason="connection_lost: with 18 records on their way" partitions=[2,3]
2026-11-30T02:34:20.189Z WARNING new producer reason=connection_lost
2026-11-30T02:34:25.193Z WARNING waiting for the transaction coordinator reason="new producer"
2026-11-30T02:34:32.979Z INFO rewound reason="connection_lost: with 124 records on their way" partitions=[2,3]
2026-11-30T02:34:40.000Z WARNING new producer reason=connection_lost
2026-11-30T02:34:41.500Z INFO rewound reason="connection_lost: with 12 records on their way" partitions=[2,3]
2026-11-30T02:34:50.000Z WARNING new producer reason=connection_lost
"""
AT_02_34_S = 1796006040


def test_the_longest_wait_counts_from_a_new_producer_to_the_rewind():
    assert coordinator_wait_s(LOG, AT_02_34_S) == pytest.approx(12.79)
    assert coordinator_wait_s(LOG, AT_02_34_S + 35) == pytest.approx(1.5)
    assert coordinator_wait_s(LOG, AT_02_34_S + 45) == 0
    assert coordinator_wait_s("", 0) == 0

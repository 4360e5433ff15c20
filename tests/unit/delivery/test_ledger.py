"""The conservation law of a delivery."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_infer.delivery.delivery import Ledger
from stream_infer.errors import DeliveryError

counts = st.integers(0, 1000)


@given(counts, counts)
def test_inputs_that_ended_as_scored_or_rejected_balance(scored: int, rejected: int) -> None:
    Ledger(scored + rejected, scored, rejected).check()


@given(counts, counts, counts)
def test_anything_else_is_never_committed(inputs: int, scored: int, rejected: int) -> None:
    if inputs == scored + rejected:
        return
    with pytest.raises(DeliveryError, match="conservation is broken"):
        Ledger(inputs, scored, rejected).check()

"""How a server is asked, and the two ways in which it may not answer."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["Asking", "Refused", "Unanswered"]


class Unanswered(Exception):  # noqa: N818 - a state of the server
    """No answer, or one that is none: whatever was asked, ask again later."""


class Refused(Exception):  # noqa: N818 - a state of the server
    """The server says no to just these windows."""


class Asking(Protocol):
    """One protocol, one server, one model."""

    def ask(self, windows: NDArray[np.float32], timeout_s: float) -> NDArray[np.float32]:
        """Send windows (n, W, F), return what comes back in its own shape. Raises Unanswered, Refused."""

    def close(self) -> None:
        """Close the connections."""

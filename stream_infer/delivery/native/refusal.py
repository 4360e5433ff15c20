"""Why the native lane cannot be used here."""

__all__ = ["Refusal"]


class Refusal(Exception):  # noqa: N818 - not a fault: the ordinary lane does the same work
    """Something about this machine's client is not as the native lane needs it."""

"""Corrected scores for events that a bad version of the model scored: the worker's own stages over the past.

    scored topic, correction topic -> wanted (which events)   the ordinary source, up to the last of them
    -> decode -> window -> score -> judge                      the same stages, windows filled by the events before
    -> publish                                                 wanted events alone, marked, to the correction topic

A job is a consumer group with state of its own: killed and started again it goes on where it was.
"""

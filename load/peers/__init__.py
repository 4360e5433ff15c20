"""Rivals: the worker's job on the same topics with the same model, each written as its own users would."""

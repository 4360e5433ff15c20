"""Where versions of a model are kept, and which of them an alias means: a directory, MLflow, or a plugin's.

Three verbs make a registry (registry.py); everything else of the product works with those.
"""

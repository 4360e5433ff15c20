"""Statistics of comparisons, the verdict on a candidate, and what shows both."""

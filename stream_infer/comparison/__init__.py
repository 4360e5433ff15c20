"""Statistics of comparisons, the verdict on a candidate, and what shows both.

A comparison on its way from the topic to a verdict, live and in a report alike:

reading.py      PairReader: values of the comparison topic -> Pairs (pairs.py), in columns
segments.py     which segments an event belongs to
statistics.py   what is counted of pairs, as one Tally (tally.py) of integers; buckets.py: values as integers
ledger.py       Ledger: statistics by partition, versions, segment and window; counts no record twice
verdict.py      Evidence of the ledger's blocks -> judge -> Verdict; sequential.py: its mathematics
verdict_record.py  a verdict as a record of the verdict topic
summary.py      all numbers as plain values; figures.py, measures.py: what is made of counts
report.py       the page of a summary; tables.py, charts.py, report.css

Live: app.py is the Faust app (faust_app.py, transport.py, cell_table.py: what it stands on; process.py: its end).
Offline: offline.py, from a topic (topic_pairs.py) or a file (parquet.py); quality.py: what needs all scores at once.
Labels: labels.py joins them to pairs; label_source.py brings them, label_follower.py counts those that come late
(label_ledger.py, spans.py: which stretches of the topic to read again); worst.py: the events that differ most.
"""

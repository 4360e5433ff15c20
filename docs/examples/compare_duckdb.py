"""Questions to an exported comparison, in SQL.

stream-infer comparison export -c worker.toml --to pairs.parquet
pip install duckdb
python docs/examples/compare_duckdb.py pairs.parquet
"""

import sys

import duckdb

pairs = duckdb.read_parquet(sys.argv[1])
((count,),) = duckdb.sql("select count(*) from pairs").fetchall()
print(f"{count:,} comparisons")

print("\nWhere do the models disagree?")
print(
    duckdb.sql("""
        select entity,
               count(*) as compared,
               round(avg(agreement::int), 4) as agreement,
               count(*) filter (where primary_is_anomaly and not shadow_is_anomaly) as primary_only,
               count(*) filter (where shadow_is_anomaly and not primary_is_anomaly) as shadow_only
        from pairs
        where agreement is not null
        group by entity
        order by agreement
        limit 10
    """)
)

print("\nWhich features does the shadow blame where it alone sees an anomaly?")
print(
    duckdb.sql("""
        select cause.feature, count(*) as events, round(avg(cause.share), 3) as mean_share
        from (select unnest(shadow_contributions) as cause
              from pairs
              where shadow_is_anomaly and not primary_is_anomaly)
        group by cause.feature
        order by events desc
        limit 10
    """)
)

print("\nWhat would the shadow say at another threshold?")
print(
    duckdb.sql("""
        select factor,
               count(*) filter (where shadow_score >= factor * shadow_threshold) as anomalies,
               round(avg((primary_is_anomaly = (shadow_score >= factor * shadow_threshold))::int), 4) as agreement
        from pairs, unnest([0.8, 0.9, 1.0, 1.1, 1.25]) as factors(factor)
        where agreement is not null
        group by factor
        order by factor
    """)
)

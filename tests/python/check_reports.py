"""Reads a state folder's report tables with DuckDB, pandas (pyarrow) and polars, and compares what they see.

usage: check_reports.py STATE [TABLE=ROWS ...]

Exits 0 and prints "ok" when all three agree on rows, columns, times (UTC, microseconds) and scores, and every table named
on the command line has that many rows.
"""

import sys
from pathlib import Path

import duckdb
import pandas
import polars
import pyarrow.dataset

TABLES = ("scores", "anomalies", "denoised", "rejected", "duplicates")
PNG = b"\x89PNG\r\n\x1a\n"


def check_table(folder: Path) -> int:
    """Compares the three readers on one table; returns its number of rows."""
    pattern = f"{folder}/*/*/part-*.parquet"
    strays = [path for path in folder.rglob("*") if path.is_file() and not path.match("part-*.parquet")]
    assert not strays, f"{folder}: strays in the tree: {strays}"

    duck = duckdb.sql(f"SELECT * FROM read_parquet('{pattern}', hive_partitioning = true, union_by_name = true)")
    duck_types = dict(zip(duck.columns, map(str, duck.types)))
    duck_rows = duckdb.sql("SELECT COUNT(*) FROM duck").fetchall()[0][0]

    lazy = polars.scan_parquet(pattern, hive_partitioning=True, missing_columns="insert")
    frame = lazy.collect()

    partitioning = pyarrow.dataset.partitioning(flavor="hive")
    arrow = pyarrow.dataset.dataset(folder, format="parquet", partitioning=partitioning).to_table()
    pandas_frame = arrow.to_pandas()

    assert duck_rows == frame.height == len(pandas_frame), (folder, duck_rows, frame.height, len(pandas_frame))
    assert set(duck_types) == set(frame.columns) == set(pandas_frame.columns), (folder, set(duck_types) ^ set(frame.columns))
    assert {"pipeline", "date"} <= set(frame.columns), folder

    for name in (name for name in frame.columns if name.endswith("_at")):
        assert duck_types[name] == "TIMESTAMP WITH TIME ZONE", (folder, name, duck_types[name])
        assert frame.schema[name] == polars.Datetime("us", "UTC"), (folder, name, frame.schema[name])
        assert str(pandas_frame[name].dtype) == "datetime64[us, UTC]", (folder, name, pandas_frame[name].dtype)

    for name in (name for name in ("score", "p_value", "threshold") if name in frame.columns):
        assert frame.schema[name] == polars.Float64, (folder, name)
        total = duckdb.sql(f"SELECT SUM({name}) FROM duck").fetchall()[0][0]
        for other in (frame[name].sum(), pandas_frame[name].sum()):
            assert abs(other - total) <= 1e-9 * max(1.0, abs(total)), (folder, name, total, other)
    for name in (name for name, dtype in frame.schema.items() if dtype == polars.Binary):
        assert all(value.startswith(PNG) for value in frame[name].drop_nulls()), (folder, name)
    return frame.height


def main() -> None:
    state, expected = Path(sys.argv[1]), dict(pair.split("=") for pair in sys.argv[2:])
    seen = {}
    for table in TABLES:
        folder = state / "reports" / table
        seen[table] = check_table(folder) if any(folder.rglob("*.parquet")) else 0
    for table, rows in expected.items():
        assert seen[table] == int(rows), f"{table}: {seen[table]} rows, expected {rows}"
    if seen["anomalies"]:
        pattern = f"{state}/reports/scores/*/*/part-*.parquet"
        flagged = polars.scan_parquet(pattern, hive_partitioning=True).filter(polars.col("is_anomaly"))
        assert flagged.collect().height == seen["anomalies"], "scores and anomalies disagree on what was flagged"
    print(f"pandas {pandas.__version__}, polars {polars.__version__}, duckdb {duckdb.__version__}:", seen)
    print("ok")


if __name__ == "__main__":
    main()

"""Counts the rows of `scores` with DuckDB, polars and pyarrow, over and over, and once more after stdin has been closed.

usage: read_on.py STATE ROWS PAUSE

Prints "reading" after the first round. Exits 0 if every reader saw exactly ROWS rows each time and none of them failed; rests PAUSE
seconds between two rounds.
"""

import sys
import threading
from pathlib import Path

import duckdb
import polars
import pyarrow.dataset


def counts(folder: Path) -> dict[str, int]:
    """Rows by reader; each lists the folder and reads a column."""
    pattern = f"{folder}/*/*/part-*.parquet"
    keys = duckdb.sql(f"SELECT COUNT(DISTINCT key) FROM read_parquet('{pattern}', union_by_name = true)").fetchall()
    frame = polars.scan_parquet(pattern, hive_partitioning=True, missing_columns="insert").select("key").collect()
    partitioning = pyarrow.dataset.partitioning(flavor="hive")
    table = pyarrow.dataset.dataset(folder, format="parquet", partitioning=partitioning).to_table(columns=["key"])
    return {"duckdb": keys[0][0], "polars": frame["key"].n_unique(), "pyarrow": table.num_rows}


def main() -> None:
    folder, rows, pause = Path(sys.argv[1]) / "reports" / "scores", int(sys.argv[2]), float(sys.argv[3])
    over, rounds, last = threading.Event(), 0, False
    threading.Thread(target=lambda: (sys.stdin.read(), over.set()), daemon=True).start()
    while True:
        seen = counts(folder)
        assert set(seen.values()) == {rows}, f"round {rounds}: {seen}, not {rows}"
        if rounds == 0:
            print("reading", flush=True)
        rounds += 1
        if last:
            break
        last = over.wait(pause)
    print(f"{rounds} rounds")


if __name__ == "__main__":
    main()

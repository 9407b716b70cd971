"""Reads the reports of a state folder over and over, as a scientist's notebook would, until it is told to stop.

usage: readers.py STATE PAUSE        with polars, DuckDB and pandas, and seconds between two rounds; SIGTERM ends it

A table that exists must read, in every reader, at every moment, and no frame may stand in `scores` twice. Prints one JSON object:
{"reads": N, "faults": [...]}.
"""

import glob
import json
import signal
import sys
import time

import duckdb
import pandas
import polars
import pyarrow.dataset

TABLES = ("scores", "anomalies", "denoised", "rejected")


def with_polars(folder: str) -> list:
    frame = polars.scan_parquet(f"{folder}/**/*.parquet", hive_partitioning=True, missing_columns="insert").collect()
    return frame["frame_id"].to_list() if "frame_id" in frame.columns else []


def with_duckdb(folder: str) -> list:
    source = f"read_parquet('{folder}/*/*/*.parquet', hive_partitioning = true, union_by_name = true)"
    rows = duckdb.sql(f"SELECT * FROM {source}").to_arrow_table()
    return rows["frame_id"].to_pylist() if "frame_id" in rows.column_names else []


def with_pandas(folder: str) -> list:
    frame: pandas.DataFrame = pyarrow.dataset.dataset(folder, format="parquet", partitioning="hive").to_table().to_pandas()
    return frame["frame_id"].tolist() if "frame_id" in frame.columns else []


def main() -> None:
    state, pause, reads, faults = sys.argv[1], float(sys.argv[2]), 0, []
    stop = []
    signal.signal(signal.SIGTERM, lambda *_: stop.append(True))
    print("reading", file=sys.stderr, flush=True)
    while not stop:
        for table in TABLES:
            folder = f"{state}/reports/{table}"
            if not glob.glob(f"{folder}/*/*/*.parquet"):
                continue
            for reader in (with_polars, with_duckdb, with_pandas):
                try:
                    names = reader(folder)
                    reads += 1
                    if table == "scores" and len(set(names)) != len(names):
                        faults.append(f"{reader.__name__}: {len(names) - len(set(names))} frames twice in {table}")
                except Exception as error:  # whatever a reader fails with is what is looked for
                    faults.append(f"{reader.__name__} on {table}: {type(error).__name__}: {str(error)[:300]}")
        end = time.monotonic() + pause
        while not stop and time.monotonic() < end:
            time.sleep(min(0.02, pause))
    print(json.dumps({"reads": reads, "faults": faults}))


if __name__ == "__main__":
    main()

"""DuckDB's side of history.py: `duckdb_side.py EVENTS_FOLDER SIZE_S WAY OUTPUT.parquet` computes query A, one of these ways.

rows   each row is put into all of its windows
panes  rows are added up by key and second, these are put into their windows and added up again
join   as panes, the windows by a join instead of a list for each pane
over   rows are added up by key and second, gaps are filled, and window functions add up along each key
"""

import sys

import duckdb

EVENTS = "read_parquet('{folder}/*/*.parquet', hive_partitioning = true)"
SECOND = "epoch_ns(event_time) // 1000000000"
COUNTS = """count(*) AS events, count(*) FILTER (WHERE name = 'execve') AS starts,
    count(*) FILTER (WHERE name = 'connect') AS connects, count(*) FILTER (WHERE name = 'open') AS opens,
    count(*) FILTER (WHERE ret < 0) AS failures"""
EXTREMES = """min(bytes) AS bytes_min, max(bytes) AS bytes_max, min(duration_ns) AS duration_min,
    max(duration_ns) AS duration_max, min(ret) AS ret_min, max(ret) AS ret_max, max(flags) AS flags_max"""
ADDED = ["events", "starts", "connects", "opens", "failures", "bytes_sum", "bytes_squares", "duration_sum",
         "duration_squares", "bytes_read", "bytes_written"]
LEAST = ["bytes_min", "duration_min", "ret_min"]
GREATEST = ["bytes_max", "duration_max", "ret_max", "flags_max"]
WAYS = ("rows", "panes", "join", "over")


def panes(events):
    return f"""SELECT host, pid, {SECOND} AS s, {COUNTS}, {EXTREMES},
        sum(bytes)::BIGINT AS bytes_sum, sum(bytes::DOUBLE * bytes) AS bytes_squares,
        sum(duration_ns)::BIGINT AS duration_sum, sum(duration_ns::DOUBLE * duration_ns) AS duration_squares,
        sum(bytes) FILTER (WHERE name = 'read')::BIGINT AS bytes_read,
        sum(bytes) FILTER (WHERE name = 'write')::BIGINT AS bytes_written
        FROM {events} GROUP BY ALL"""


def merged(over=""):
    each = [f"sum({name}) {over} AS {name}" for name in ADDED]
    each += [f"min({name}) {over} AS {name}" for name in LEAST]
    each += [f"max({name}) {over} AS {name}" for name in GREATEST]
    return ", ".join(each)


def finished(windows):
    """`windows` has host, pid, the window's last second as w, and what is merged."""
    deviation = "sqrt(({0}_squares - {0}_sum::DOUBLE * {0}_sum / events) / (events - 1)) AS {0}_stddev"
    return f"""SELECT * EXCLUDE (w, bytes_squares, duration_squares), make_timestamp_ns(w * 1000000000) AS window_end,
        bytes_sum / events AS bytes_avg, duration_sum / events AS duration_avg,
        {deviation.format("bytes")}, {deviation.format("duration")}
        FROM ({windows}) WHERE events > 0 AND bytes_sum % 50000 = 0"""


def query(way, folder, size_s):
    events = EVENTS.format(folder=folder)
    if way == "rows":
        return f"""SELECT host, pid, make_timestamp_ns(w * 1000000000) AS window_end, {COUNTS}, {EXTREMES},
            sum(bytes) AS bytes_sum, avg(bytes) AS bytes_avg, stddev(bytes) AS bytes_stddev,
            sum(duration_ns) AS duration_sum, avg(duration_ns) AS duration_avg, stddev(duration_ns) AS duration_stddev,
            sum(bytes) FILTER (WHERE name = 'read') AS bytes_read,
            sum(bytes) FILTER (WHERE name = 'write') AS bytes_written
            FROM (SELECT *, {SECOND} + unnest(range(1, {size_s} + 1)) AS w FROM {events})
            GROUP BY host, pid, w HAVING bytes_sum % 50000 = 0"""
    if way == "panes":
        return finished(f"""SELECT host, pid, w, {merged()}
            FROM (SELECT *, s + unnest(range(1, {size_s} + 1)) AS w FROM ({panes(events)})) GROUP BY host, pid, w""")
    if way == "join":
        return finished(f"""SELECT host, pid, s + n AS w, {merged()}
            FROM ({panes(events)}), range(1, {size_s} + 1) AS r(n) GROUP BY host, pid, w""")
    return finished(f"""WITH panes AS ({panes(events)}),
        bounds AS (SELECT min(s) AS first, max(s) + {size_s} AS last FROM panes),
        grid AS (SELECT host, pid, t AS s FROM (SELECT DISTINCT host, pid FROM panes), bounds, range(first, last) AS r(t)),
        filled AS (SELECT grid.*, panes.* EXCLUDE (host, pid, s) FROM grid LEFT JOIN panes USING (host, pid, s))
        SELECT host, pid, s + 1 AS w, {merged("OVER spans")} FROM filled
        WINDOW spans AS (PARTITION BY host, pid ORDER BY s ROWS BETWEEN {size_s} - 1 PRECEDING AND CURRENT ROW)""")


if __name__ == "__main__":
    folder, size_s, way, output = sys.argv[1:]
    duckdb.connect().execute(f"COPY ({query(way, folder, int(size_s))}) TO '{output}' (FORMAT parquet)")

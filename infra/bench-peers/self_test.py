"""Tests the decisions of this folder: infra/bench-peers/run --self-test."""

import compare
import measure
from queries import QUERIES, amoskys_sql, flink_sql, ways

LINE = '{{"host":"h","pid":1,"window_end":"2025-06-15{}15:06:{}","events":{},"bytes_avg":{},"bytes_read":null}}'


def stamps():
    return [measure.Stamp(events, events / 1e6, events / 5e5, events / 1e7, events / 2e5)
            for events in (0, 3_000_000, 5_000_000, 10_000_000)]


def cases():
    """(what is tested, whether it holds)"""
    figures = measure.figures(stamps(), 4_000_000)
    yield "measured from the first stamp after the beginning", (figures.from_events, figures.to_events) == (5_000_000, 10_000_000)
    yield "CPU by the million", abs(figures.cpu_s_per_million - 2) < 1e-9 and abs(figures.events_per_s - 1e6) < 1e-6
    yield "others' cores leave out both", abs(figures.cores_elsewhere - (5 - 2 - 0.1)) < 1e-9
    yield "no span, no figures", measure.figures(stamps(), 10_000_000) is None
    sizes = {query.name: query.steady_from(12_000_000) for query in QUERIES}
    yield "measured when windows are full", sizes["b60"] == 6_200_000 and sizes["a"] == 4_800_000
    yield "1440 s are never full", sizes["b1440"] == 4_800_000
    flink = compare.rows([LINE.format(" ", 40, 7, 1.5), LINE.format(" ", 45, 9, 2)], False)
    same = compare.rows([LINE.format("T", 40, 7, 1.5000000001).replace('"}', 'Z"}'), LINE.format("T", 45, 9, 2)], False)
    yield "both ways of writing a time, nulls and rounding are equal", compare.differences(flink, same, 1 << 40) == ([], 2)
    other = compare.rows([LINE.format("T", 40, 8, 1.5), LINE.format("T", 45, 9, 2.1)], False)
    yield "a count and a mean that differ are seen", len(compare.differences(flink, other, 1 << 40)[0]) == 2
    yield "a missing row is seen", len(compare.differences(flink, {}, 1 << 40)[0]) == 2
    yield "what ends later is not compared", compare.differences(flink, {}, 0) == ([], 0)
    yield "thinned by the end of the window", len(compare.rows([LINE.format("T", 41, 1, 1), LINE.format("T", 50, 1, 1)], True)) == 1
    for query in QUERIES:
        for sql in [flink_sql(query, "a:1", "out")] + [amoskys_sql(query, way.envelopes, "out", way.sink) for way in ways(query)]:
            yield f"nothing is left to fill in: {query.name}", "{" not in sql.split("\n", 3)[3]


def run():
    failed = [name for name, holds in cases() if not holds]
    for name in failed:
        print(f"self-test: {name}: does not hold")
    return 1 if failed else 0

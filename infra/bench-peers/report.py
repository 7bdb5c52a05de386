"""The figures as tables for people, or as JSON."""

import json

HEAD = ("| | events/s | CPU-s per million events | broker's | cores elsewhere | times less CPU | wanted | times faster |\n"
        "|---|---|---|---|---|---|---|---|")

# Before that, the JVM is still compiling: Flink has been seen to take twice what it takes later.
WARM_EVENTS = 3_000_000
COLD = ", when its JVM was still warming up: **do not quote**, take more events"


def ratios(flink, ours):
    """How many times less CPU, and how many times faster, than Flink."""
    return flink.cpu_s_per_million / ours.cpu_s_per_million, ours.events_per_s / flink.events_per_s


def row(name, figures, rest):
    return (f"| {name} | {figures.events_per_s / 1e3:,.0f} K | {figures.cpu_s_per_million:.3f} "
            f"| {figures.broker_cpu_s_per_million:.3f} | {figures.cores_elsewhere:.1f} | {rest} |")


def table(result):
    query, flink = result["query"], result["flink"]
    lines = [f"### {query.title}", "", HEAD, row("Flink, one event per record", flink, "| |")]
    for name, wanted, figures in result["amoskys"]:
        cpu, wall = ratios(flink, figures)
        lines.append(row(name, figures, f"**{cpu:.1f}×** | {wanted:g}× | {wall:.1f}×"))
    millions = f"{flink.from_events / 1e6:.1f} to {flink.to_events / 1e6:.1f} M"
    lines += ["", f"Flink between {millions} events read" + (
        ", when it was stopped: its windows were far from full, and it was still getting slower" if query.bounded else "")
        + (COLD if flink.from_events < WARM_EVENTS and not query.bounded else "")
        + f". {result['compared']} rows of {result['passes']} passes compared, none differs.", ""]
    return "\n".join(lines)


def as_json(loaded, results):
    def of(name, figures, more):
        return {"name": name} | vars(figures) | more

    def query(result):
        flink = result["flink"]
        ours = []
        for name, wanted, figures in result["amoskys"]:
            cpu, wall = ratios(flink, figures)
            ours.append(of(name, figures, {"cpu_ratio": cpu, "cpu_ratio_wanted": wanted, "wall_ratio": wall}))
        return {"query": result["query"].name, "title": result["query"].title, "size_s": result["query"].size_s,
                "flink": of("flink", flink, {"stopped": result["query"].bounded}), "amoskys": ours,
                "rows_compared": result["compared"]}

    return json.dumps({"loaded": loaded, "queries": [query(result) for result in results]}, indent=2)

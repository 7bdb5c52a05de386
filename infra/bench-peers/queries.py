"""The queries that are compared, the SQL of both sides, and how many times less CPU Amoskys is wanted to take.

The aggregates are in amoskys.sql and flink.sql. Times are of the events; the first is at START_S.
"""

import dataclasses
import pathlib

HERE = pathlib.Path(__file__).resolve().parent
EVENTS_TOPIC = "peers.events"
ENVELOPES_TOPIC = "peers.envelopes"
EVENTS_PER_SECOND = 100_000
EVENTS_PER_ENVELOPE = 500
START_S = 1_750_000_000
LATENESS_S = 2
JITTER_S = 0.5
# A filter on a sum cannot be pushed below the windows, so everything is computed, and a row in 50,000 is written: enough
# to compare both sides' results in every pass, too few to measure the sink.
RARE = {"flink": "MOD(bytes_sum, 50000) = 0", "amoskys": "bytes_sum % 50000 = 0"}
EVERY = {"flink": "TRUE", "amoskys": "true"}


@dataclasses.dataclass(frozen=True)
class Query:
    name: str
    title: str
    size_s: int
    # Flink's CPU-seconds over Amoskys', as wanted.
    wanted_events: float
    wanted_envelopes: float
    distinct: bool = False
    # Every row goes to Kafka, exactly once. Otherwise a row in 50,000 does, and Flink takes no checkpoints.
    exactly_once: bool = False
    # Flink would not come to the end of the topic in reasonable time.
    bounded: bool = False

    def steady_from(self, events):
        """Events read when measuring begins, of `events` in all: 40 %, or when the first whole window has closed."""
        full = int((self.size_s + LATENESS_S) * EVENTS_PER_SECOND)
        return max(events * 4 // 10, full if full < events * 9 // 10 else 0)


@dataclasses.dataclass(frozen=True)
class Way:
    """How Amoskys reads and writes."""

    name: str
    envelopes: bool = True
    signed: bool = False
    # What its rows are written as; Flink's are JSON always.
    sink: str = "JSON"


def ways(query):
    found = [Way("Amoskys, one event per record", envelopes=False), Way("Amoskys, envelopes"),
             Way("Amoskys, envelopes, signatures required", signed=True)]
    # Where nearly nothing is written it makes no difference.
    return found + [Way("Amoskys, envelopes in and out (ARROW)", sink="ARROW")] * query.exactly_once


QUERIES = [
    Query("a", "5 s/1 s", 5, 4.5, 20),
    Query("b60", "60 s/1 s", 60, 12, 50),
    Query("b1440", "1440 s/1 s", 1440, 35, 150, bounded=True),
    Query("ad", "5 s/1 s with distinct counts", 5, 6, 15, distinct=True),
    Query("eo", "5 s/1 s, exactly once into Kafka", 5, 5, 20, exactly_once=True),
]


def fill(file, values):
    """The text of `file` with what stands in braces replaced; other braces are left."""
    text = (HERE / file).read_text()
    for name, value in values.items():
        text = text.replace("{" + name + "}", str(value))
    return text


def _values(query, side, output):
    distinct = ", COUNT(DISTINCT dst_addr) AS peers, COUNT(DISTINCT dst_port) AS ports" if query.distinct else ""
    return {
        "output": output, "sink": "JSON", "size_s": query.size_s, "keep": (EVERY if query.exactly_once else RARE)[side],
        "distinct": distinct, "distinct_columns": ", peers BIGINT, ports BIGINT" if query.distinct else "",
    }


def amoskys_sql(query, envelopes, output, sink="JSON"):
    values = _values(query, "amoskys", output) | {"sink": sink}
    if envelopes:
        values |= {"format": "ENVELOPE", "topic": ENVELOPES_TOPIC, "message": "bench.SyscallBatch"}
    else:
        values |= {"format": "PROTOBUF", "topic": EVENTS_TOPIC, "message": "bench.SyscallEvent"}
    return fill("amoskys.sql", values)


def flink_sql(query, servers, output):
    delivery = "'sink.delivery-guarantee' = 'at-least-once'"
    if query.exactly_once:
        delivery = ("'sink.delivery-guarantee' = 'exactly-once', "
                    f"'sink.transactional-id-prefix' = '{output}', 'properties.transaction.timeout.ms' = '600000'")
    values = _values(query, "flink", output)
    return fill("flink.sql", values | {"servers": servers, "topic": EVENTS_TOPIC, "delivery": delivery})


def flink_settings(query, checkpoint_s, checkpoints):
    """As Flink's documentation advises for throughput; a failure ends the job instead of starting it again."""
    settings = {
        "parallelism.default": "2", "pipeline.object-reuse": "true", "state.backend.type": "hashmap",
        "table.local-time-zone": "UTC", "restart-strategy.type": "none",
    }
    if query.exactly_once:
        settings |= {
            "execution.checkpointing.interval": f"{checkpoint_s} s",
            "execution.checkpointing.mode": "EXACTLY_ONCE",
            # In the job manager's memory, the default, they may not be as large as this query's.
            "execution.checkpointing.dir": f"file://{checkpoints}",
        }
    return [f"{key}={value}" for key, value in settings.items()]

"""Reads a features file and the workload's log; labels rows and splits them by time.

A row is one (entity, window). Labels come from what the workload says it did and when, never from the features.
"""

import json
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

# Numbers that name something instead of measuring it.
IDENTITY_COLUMNS = {"pid", "parent_pid", "uid", "euid", "gid", "egid", "process_key", "_partition", "_offset"}
# A row must see at least this share of an attack (or of its own window, if that is shorter) to be called one.
ATTACK_SHARE_MIN = 0.5

BENIGN, ATTACK, UNDECIDED = 0, 1, -1


@dataclass
class Rows:
    """Rows in order of window start. `values` is float32 [rows, features], as the model will be served."""

    features: list[str]
    values: np.ndarray
    start_us: np.ndarray
    end_us: np.ndarray
    host: np.ndarray
    entity: np.ndarray
    parent_pid: np.ndarray | None
    label: np.ndarray
    # Number of the attack a row belongs to, -1 if none.
    attack: np.ndarray

    def take(self, index):
        """The rows of a mask or of positions."""
        pids = None if self.parent_pid is None else self.parent_pid[index]
        return Rows(self.features, self.values[index], self.start_us[index], self.end_us[index], self.host[index],
                    self.entity[index], pids, self.label[index], self.attack[index])

    def __len__(self):
        return len(self.start_us)


@dataclass
class Attack:
    """One staged attack as the workload logged it."""

    name: str
    start_us: int
    end_us: int
    # The process whose children did it; None if the log does not say.
    parent_pid: int | None = None


@dataclass
class Split:
    """Three stretches of time, one after another; no event is in two of them."""

    train: Rows
    calibrate: Rows
    test: Rows


def read_rows(path, exclude=()):
    """Reads a Parquet file with `win` {start, end} and numeric feature columns.

    Raises ValueError naming the column if it is not such a file.
    """
    table = pq.read_table(path)
    if "win" not in table.column_names or not pa.types.is_struct(table.schema.field("win").type):
        raise ValueError(f"{path}: expected a column `win` with start and end, found {', '.join(table.column_names)}")
    window = table.column("win").combine_chunks()
    start_us, end_us = (micros(window.field(part)) for part in ("start", "end"))
    features = [f.name for f in table.schema if is_feature(f) and f.name not in exclude]
    if not features:
        raise ValueError(f"{path}: no numeric columns to learn from")
    values = np.column_stack([numbers(table.column(name)) for name in features])
    names = [n for n in table.column_names if n != "win" and n not in features]
    host = strings(table.column("host_id")) if "host_id" in names else np.full(len(table), "")
    entity = np.array(["\0".join(key) for key in zip(*(strings(table.column(n)) for n in names))] or [""] * len(table))
    pids = None
    if "parent_pid" in table.column_names:
        pids = table.column("parent_pid").to_numpy().astype(np.int64)
    nothing = np.full(len(table), -1)
    rows = Rows(features, values, start_us, end_us, host, entity, pids, np.zeros(len(table), int), nothing)
    order = np.lexsort((entity, start_us))
    return rows.take(order)


def read_attacks(path):
    """Reads the attacks of a workload's log (one JSON object per line), benign activities left out."""
    with open(path, encoding="utf-8") as lines:
        logged = [json.loads(line) for line in lines if line.strip()]
    return [Attack(a["name"], a["start_us"], a["end_us"], a.get("parent_pid")) for a in logged if a["attack"]]


def label_rows(rows, attacks):
    """Labels `rows` in place: 1 where a row sees enough of an attack by its entity, -1 where it sees a little."""
    rows.label[:] = BENIGN
    rows.attack[:] = -1
    for number, attack in enumerate(attacks):
        overlap = np.minimum(rows.end_us, attack.end_us) - np.maximum(rows.start_us, attack.start_us)
        touched = overlap >= 0
        if rows.parent_pid is not None and attack.parent_pid is not None:
            touched &= rows.parent_pid == attack.parent_pid
        whole = np.minimum(rows.end_us - rows.start_us, attack.end_us - attack.start_us)
        enough = touched & (overlap >= ATTACK_SHARE_MIN * whole)
        rows.label[touched & ~enough & (rows.label != ATTACK)] = UNDECIDED
        rows.label[enough] = ATTACK
        rows.attack[enough] = number


def split_by_time(rows, train_share, calibrate_share):
    """Splits by window end; rows whose window would reach over a border are in neither part. Undecided rows go."""
    first, last = int(rows.start_us.min()), int(rows.end_us.max())
    train_end = first + int((last - first) * train_share)
    calibrate_end = first + int((last - first) * (train_share + calibrate_share))
    decided = rows.label != UNDECIDED

    def part(low, high):
        return rows.take(decided & (rows.start_us >= low) & (rows.end_us <= high))

    return Split(part(first, train_end), part(train_end, calibrate_end), part(calibrate_end, last))


def is_feature(column):
    kind = column.type
    numeric = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)
    return numeric and column.name not in IDENTITY_COLUMNS


def micros(array):
    return array.cast(pa.timestamp("us", tz=array.type.tz)).cast(pa.int64()).to_numpy(zero_copy_only=False)


def numbers(column):
    """float32 as at serving time; a null becomes NaN, which training refuses."""
    return column.cast(pa.float64()).to_numpy().astype(np.float32)


def strings(column):
    return np.array([str(value) for value in column.to_pylist()])

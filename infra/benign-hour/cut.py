"""Of everything that the agent recorded, what the load did: rows of its control group, from the moment its init runs.

Taken away, because it is of the machine that recorded and not of the host that was recorded: rows of other control groups, what made the
namespaces before init ran, and all ancestors above init. Left as they were: every other row and value. The columns that no SQL that ships
reads and that are random to the last bit (addresses of memory) are left out (`LEFT_OUT`): they would be half of the files.
Files: processes.parquet, syscalls.parquet with `_partition`, `_offset`, `_log_time`; README.md: rows, seconds, programs.
Deliberately not here: recording (`driver.py`).
"""

import collections
import pathlib

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

INIT = ("/sbin/init", "/usr/sbin/init")
LEFT_OUT = ("arguments", "start_address")
ROWS_IN_GROUP = 65_536
# Of what the agent did not tell: calls whose return never came. Nothing is lost there; who was ended within `accept` is one.
UNFINISHED = 'reason="unfinished"'


def cut(work, output, container):
    """Writes the two files into `output`; returns the account."""
    processes, syscalls = (plain(pq.read_table(work / f"all-{name}.parquet")) for name in ("processes", "syscalls"))
    keys = set(syscalls.column("process_key").to_pylist())
    mine = pc.equal(processes.column("container_id"), container)
    keys |= set(processes.filter(mine).column("process_key").to_pylist())
    keys.discard(0)
    # A process that was gone before its control group was read is known by its other rows.
    keys = pa.array(sorted(keys), processes.schema.field("process_key").type)
    processes = processes.filter(pc.or_(mine, pc.is_in(processes.column("process_key"), keys)))

    is_init = pc.and_(pc.equal(text(processes, "kind"), "PROCESS_EVENT_KIND_EXEC"), pc.is_in(processes.column("exe"), pa.array(INIT)))
    begin = pc.min(processes.filter(is_init).column("observed_at"))
    init_key = processes.filter(is_init).column("process_key")[0].as_py()
    before = processes.filter(pc.less(processes.column("observed_at"), begin)).column("process_key").to_pylist()
    before += syscalls.filter(pc.less(syscalls.column("observed_at"), begin)).column("process_key").to_pylist()
    gone = pa.array(sorted(set(before) - {init_key}), processes.schema.field("process_key").type)
    processes, syscalls = (
        table.filter(pc.and_(pc.greater_equal(table.column("observed_at"), begin), pc.invert(pc.is_in(table.column("process_key"), gone))))
        for table in (processes, syscalls)
    )
    processes = without_what_is_above(processes, init_key)
    init_pid = processes.filter(pc.equal(processes.column("process_key"), init_key)).column("pid")[0].as_py()
    syscalls = replaced(syscalls, "parent_pid", [0 if pid == init_pid else parent for pid, parent in columns(syscalls, "pid", "parent_pid")])
    syscalls = syscalls.drop_columns([name for name in LEFT_OUT if name in syscalls.column_names])
    output.mkdir(parents=True, exist_ok=True)
    for name, table in [("processes", processes), ("syscalls", syscalls)]:
        write(table, output / f"{name}.parquet")
    return account(processes, syscalls, output)


def without_what_is_above(processes, init_key):
    """The host's init has nothing above it."""
    def shortened(ancestors):
        at = next((n for n, exe in enumerate(ancestors) if exe in INIT), None)
        return ancestors if at is None else ancestors[: at + 1]

    is_init = [key == init_key for key in processes.column("process_key").to_pylist()]
    ancestors = [[] if init else shortened(some or []) for init, some in zip(is_init, processes.column("ancestors").to_pylist())]
    processes = replaced(processes, "ancestors", ancestors)
    for name, nothing in [("parent_pid", 0), ("parent_comm", ""), ("parent_exe", ""), ("parent_euid", 0)]:
        values = [nothing if init else value for init, value in zip(is_init, processes.column(name).to_pylist())]
        processes = replaced(processes, name, values)
    return processes


def plain(table):
    """Texts as strings: pyarrow compares and takes none of Arrow's views."""
    return table.cast(pa.schema([field.with_type(plain_type(field.type)) for field in table.schema]))


def plain_type(kind):
    if pa.types.is_map(kind):
        return pa.map_(plain_type(kind.key_type), plain_type(kind.item_type))
    if pa.types.is_list(kind):
        return pa.list_(kind.value_field.with_type(plain_type(kind.value_type)))
    return pa.string() if kind == pa.string_view() else kind


def columns(table, *names):
    return zip(*(table.column(name).to_pylist() for name in names))


def replaced(table, name, values):
    at = table.schema.get_field_index(name)
    return table.set_column(at, table.schema.field(at), pa.chunked_array([pa.array(values, table.schema.field(at).type)]))


def text(table, name):
    return table.column(name).cast(pa.string())


def write(table, path):
    # Numbers that grow or repeat little are smaller as differences, words as a dictionary.
    delta = [field.name for field in table.schema if pa.types.is_timestamp(field.type) or field.name in ("_offset", "process_key", "sequence")]
    words = [field.name for field in table.schema if field.name not in delta]
    pq.write_table(table, path, compression="zstd", compression_level=19, use_dictionary=words, row_group_size=ROWS_IN_GROUP,
                   column_encoding={name: "DELTA_BINARY_PACKED" for name in delta}, version="2.6", data_page_version="2.0")


def texts_with(output, words):
    """Texts of the files that have one of the words, which are of the machine that recorded; nobody may read them."""
    found = set()
    for name in ("processes", "syscalls"):
        table = pq.read_table(output / f"{name}.parquet")
        for column in table.column_names:
            found |= {text for text in set(map(str, table.column(column).to_pylist())) if any(word in text for word in words)}
    return sorted(found)


def account(processes, syscalls, output):
    execs = processes.filter(pc.equal(text(processes, "kind"), "PROCESS_EVENT_KIND_EXEC"))
    times = [time for table in (processes, syscalls) for time in (pc.min(table.column("observed_at")), pc.max(table.column("observed_at")))]
    nanoseconds = [time.cast(pa.int64()).as_py() for time in times]
    unit = {"ns": 1e9, "us": 1e6, "ms": 1e3, "s": 1}[processes.schema.field("observed_at").type.unit]
    return {
        "processes_rows": processes.num_rows,
        "syscalls_rows": syscalls.num_rows,
        "seconds": round((max(nanoseconds) - min(nanoseconds)) / unit),
        "bytes": sum((output / f"{name}.parquet").stat().st_size for name in ("processes", "syscalls")),
        "kinds": counted(text(processes, "kind")),
        "calls": counted(text(syscalls, "syscall")),
        "programs": counted(pa.array([exe.rsplit("/", 1)[-1] for exe in execs.column("exe").to_pylist()])),
    }


def counted(column):
    return dict(collections.Counter(column.to_pylist()).most_common())


def write_account(output, told):
    """README.md beside the files, from what is said of every recording and the numbers of this one."""
    lost = {name: count for name, count in told["lost"].items() if UNFINISHED not in name}
    numbers = [
        ("rows of `processes`", told["processes_rows"]),
        ("rows of `syscalls`", told["syscalls_rows"]),
        ("seconds from the first event to the last", told["seconds"]),
        ("bytes of both files", told["bytes"]),
        ("CPU seconds of the load", told["load_cpu_seconds"]),
        ("events that the agent lost", round(sum(lost.values()))),
        ("calls that never returned, as their thread was ended", round(sum(told["lost"].values()) - sum(lost.values()))),
    ]
    table = "".join(f"| {what} | {number:,} |\n" for what, number in [*numbers])
    lists = {name: ", ".join(f"{key} {count:,}" for key, count in told[name].items()) for name in ("kinds", "calls", "programs")}
    text = (pathlib.Path(__file__).parent / "README.in").read_text()
    (pathlib.Path(output) / "README.md").write_text(text.format(table=table, **lists))


def shown(told):
    programs = ", ".join(f"{name} {count}" for name, count in list(told["programs"].items())[:25])
    return (f"{told['processes_rows']} rows of processes, {told['syscalls_rows']} of system calls, {told['seconds']} s, "
            f"{told['bytes']} bytes, not told: {told['lost'] or 'nothing'}, the load took {told['load_cpu_seconds']} CPU seconds\n"
            f"most often run: {programs}")

// All system calls, counted: for each process and call how often, how often it failed, and how long it took, as powers of two.
//
// A thread's call is noted in the thread's own storage when it is entered, and counted in its row when it returns: one lookup and two or three
// additions. Each call is counted as seen in the moment in which it is decided what becomes of it, and at once as counted, without room,
// unfinished or unnoted: these are what was seen, at every moment.
// There are two maps of rows. User space says which one is written, waits until no program is in the other, and empties that: so no
// addition falls on a row that is being taken. Rows are shared by processors and added to atomically; one for each processor would
// take their number times the memory and save little, as threads of a process seldom make the same call in the same instant.
// Not here: calls that never return (exit), which are unfinished; what calls mean.
#include "kernel.h"

#define NUMBERS 512
// Of all calls by numbers that there are not, and of all by the numbers of 32-bit programs, so that nobody fills the map with them.
#define UNKNOWN NUMBERS
#define COMPAT (NUMBERS + 1)
#define BUCKETS 32
// The first bucket is of calls below 1 << FIRST_BITS ns.
#define FIRST_BITS 7
#define ERRNO_MAX 4095

enum counter { SEEN, COUNTED, NO_ROOM, UNFINISHED, UNNOTED, COUNTERS };

// Programs that count.
enum place { ENTER, EXIT, END, PLACES };
#include "counters.h"

struct thread {
    u64 entered_ns;
    u32 number;
    u32 is_within;
};

// A process is its id and when it began: ids are used again.
struct key {
    u64 started_ns;
    u32 pid, number;
};

struct row {
    u64 errors, duration_ns;
    // Of the process, when its first call in this row returned.
    u32 uid, unused;
    char comm[16];
    u64 buckets[BUCKETS];
};

// Set when the programs are loaded.
const volatile u32 OWN_PID = 0;

// 0 or 1: which map is written.
struct written {
    __uint(type, ARRAY);
    __uint(max_entries, 1);
    __type(key, u32);
    __type(value, u32);
} written SEC(".maps");

// No program looks at it: whoever puts a map into one of this type waits in the kernel until each program that runs then has ended.
struct {
    __uint(type, ARRAY_OF_MAPS);
    __uint(max_entries, 1);
    __type(key, u32);
    __array(values, struct written);
} waits SEC(".maps");

struct {
    __uint(type, TASK_STORAGE);
    __uint(map_flags, NO_PREALLOC);
    __type(key, int);
    __type(value, struct thread);
} threads SEC(".maps");

struct {
    __uint(type, HASH);
    __uint(max_entries, 16384);
    __type(key, struct key);
    __type(value, struct row);
} rows_0 SEC(".maps");

struct {
    __uint(type, HASH);
    __uint(max_entries, 16384);
    __type(key, struct key);
    __type(value, struct row);
} rows_1 SEC(".maps");

SEC("tp_btf/sys_enter")
int activity_enter(u64 *ctx) {
    struct task_struct *task = current_task();
    // The agent's own calls would feed on themselves.
    if (task->tgid == OWN_PID) return 0;
    struct thread *thread = task_storage(&threads, task, 0, STORAGE_CREATE);
    if (!thread) return decided(ENTER, UNNOTED);
    // Its return was not seen.
    if (thread->is_within) decided(ENTER, UNFINISHED);
    u64 number = ctx[1];
    thread->number = IS_COMPAT(task) ? COMPAT : number < NUMBERS ? number : UNKNOWN;
    thread->is_within = 1;
    thread->entered_ns = boot_ns();
    return 0;
}

INLINE u32 bucket_of(u64 duration_ns) {
    u64 left = duration_ns >> FIRST_BITS;
    if (left >= 1ull << (BUCKETS - 2)) return BUCKETS - 1;
    u32 value = left, bits = 0;
    if (!value) return 0;
    if (value >> 16) { value >>= 16; bits += 16; }
    if (value >> 8) { value >>= 8; bits += 8; }
    if (value >> 4) { value >>= 4; bits += 4; }
    if (value >> 2) { value >>= 2; bits += 2; }
    return bits + (value >> 1) + 1;
}

INLINE struct row *begin_row(void *rows, const struct key *key, const struct task_struct *leader) {
    struct row row = {.uid = leader->cred->uid.val};
    read_kernel(row.comm, sizeof row.comm, leader->comm);
    // Another thread of it may have been first.
    map_update(rows, key, &row, NOEXIST);
    return map_lookup(rows, key);
}

INLINE int count(void *rows, const struct key *key, const struct task_struct *leader, u64 duration_ns, s64 result) {
    struct row *row = map_lookup(rows, key);
    if (!row) row = begin_row(rows, key, leader);
    if (!row) return decided(EXIT, NO_ROOM);
    u32 bucket = bucket_of(duration_ns) & (BUCKETS - 1);
    __sync_fetch_and_add(&row->buckets[bucket], 1);
    __sync_fetch_and_add(&row->duration_ns, duration_ns);
    if (result < 0 && result >= -ERRNO_MAX) __sync_fetch_and_add(&row->errors, 1);
    return decided(EXIT, COUNTED);
}

SEC("tp_btf/sys_exit")
int activity_exit(u64 *ctx) {
    struct task_struct *task = current_task();
    struct thread *thread = task_storage(&threads, task, 0, 0);
    u32 zero = 0;
    u32 *map = map_lookup(&written, &zero);
    // Counted when it was entered, or it was entered before anybody looked.
    if (!thread || !thread->is_within || !map) return 0;
    thread->is_within = 0;
    const struct task_struct *leader = task->group_leader;
    struct key key = {.started_ns = leader->start_boottime, .pid = task->tgid, .number = thread->number};
    u64 duration_ns = boot_ns() - thread->entered_ns;
    s64 result = ctx[1];
    if (*(volatile u32 *)map) return count(&rows_1, &key, leader, duration_ns, result);
    return count(&rows_0, &key, leader, duration_ns, result);
}

SEC("tp_btf/sched_process_exit")
int activity_end(u64 *ctx) {
    struct thread *thread = task_storage(&threads, current_task(), 0, 0);
    if (!thread || !thread->is_within) return 0;
    thread->is_within = 0;
    return decided(END, UNFINISHED);
}

char _license[] SEC("license") = "GPL";

// Starts, programs and ends of processes: each becomes an event with what there is to say of the process at that moment.
//
// All of it is read here, as a process may be gone a moment later: the executable's path and inode, the folder, the arguments, ids, login,
// session and terminal, open descriptors, and at the end the status and the CPU time. Paths are as a process without a root of its own
// sees them, component by component, the last first.
// Not here: threads, which are counted and not told; what the agent itself and its threads do is told as of all others.
#include "kernel.h"
#include "paths.h"

#define ARGV_BYTES 16384
// The first of them, of which it is looked at whether they are sockets; and 64 in a word, of which it is counted how many are open.
#define DESCRIPTORS 256
#define WORDS 1024

enum counter { SEEN, THREADS, DROPPED_RING, SUBMITTED, COUNTERS };

// Programs that count.
enum place { FORK, EXEC, EXIT, PLACES };
#include "counters.h"

// Set before the programs are loaded.
const volatile u32 ARGV_BYTES_MAX = 4096;
const volatile u32 DESCRIPTORS_MAX = 256;

// Bits of `flags` and of what could not be read.
#define KERNEL_THREAD 1
#define EXE_DELETED 2
#define EXE_CUT 4
#define CWD_CUT 8
#define CWD_DELETED 16
#define NO_EXE 1
#define NO_CWD 2
#define NO_CMDLINE 4

struct event {
    u64 at_ns, started_ns;
    // Of the executable's file.
    u64 inode, bytes, changed_s;
    u64 cgroup_id;
    // User and system time as the scheduler's ticks have it, and how long it ran.
    u64 user_ns, system_ns, ran_ns;
    u32 changed_ns, device, mode, links;
    u32 pid, parent_pid, session, terminal, threads;
    u32 uid, gid, euid, egid, login_uid;
    s32 exit_code;
    u32 open_files, sockets;
    char comm[16], fs_type[16];
    // Of `data`: components, each with a closing zero; arguments as they lie in memory.
    u16 exe_bytes, cwd_bytes, argv_bytes;
    u8 kind, flags, unreadable;
    u8 unused[7];
    char data[2 * (PATH_BYTES + NAME_BYTES) + ARGV_BYTES];
};
#define HEADER_BYTES __builtin_offsetof(struct event, data)

// For each program, as one may interrupt another.
struct {
    __uint(type, PERCPU_ARRAY);
    __uint(max_entries, PLACES);
    __type(key, u32);
    __type(value, struct event);
} scratch SEC(".maps");

struct {
    __uint(type, RINGBUF);
    __uint(max_entries, 1 << 21);
} events SEC(".maps");

struct ended {
    u64 started_ns;
    u64 pid;
};

// Processes whose end was told: two threads that end at once both find that no other is left.
struct {
    __uint(type, LRU_HASH);
    __uint(max_entries, 1024);
    __type(key, struct ended);
    __type(value, u8);
} ends SEC(".maps");

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct atomic {
    s32 counter;
};
struct upid {
    s32 nr;
};
struct pid {
    struct upid numbers[1];
};
struct tty_driver {
    s32 major, minor_start;
};
struct tty_struct {
    struct tty_driver *driver;
    s32 index;
};
struct signal_struct {
    struct atomic live;
    s32 nr_threads;
    s32 group_exit_code;
    u32 flags;
    struct pid *pids[4];
    struct tty_struct *tty;
    u64 utime, stime;
    u64 sum_sched_runtime;
};
struct file_system_type {
    const char *name;
};
struct super_block {
    u32 s_dev;
    struct file_system_type *s_type;
};
struct inode {
    unsigned short i_mode;
    u32 i_nlink;
    u64 i_ino;
    s64 i_size;
    s64 i_ctime_sec;
    u32 i_ctime_nsec;
    struct super_block *i_sb;
};
struct timespec64 {
    s64 tv_sec;
    long tv_nsec;
};
// Linux 6.6 to 6.10, and before.
struct inode___6_6 {
    struct timespec64 __i_ctime;
};
struct inode___old {
    struct timespec64 i_ctime;
};
struct cgroup_subsys_state {
    u64 serial_nr;
};
// As many as the kernel was built with; here the most that there may be.
struct css_set {
    struct cgroup_subsys_state *subsys[16];
};
#pragma clang attribute pop

#define FIELD_EXISTS(type, field) __builtin_preserve_field_info(((struct type *)0)->field, 2)
#define FIELD_BYTES(type, field) __builtin_preserve_field_info(((struct type *)0)->field, 1)

#define PF_KTHREAD 0x200000
#define SIGNAL_GROUP_EXIT 4
#define PIDTYPE_SID 3
#define S_IFMT 0170000
#define S_IFSOCK 0140000
// A bit of the time that says that somebody asked for it.
#define TIME_BITS 0x7fffffff

// Appends the names of a path to the data of a new program's event. As `walk_names`.
VERIFIED_ALONE u32 walk(u32 at, u64 vfsmount, u64 dentry) {
    u32 place = EXEC;
    struct event *event = map_lookup(&scratch, &place);
    if (!event) return at | CUT;
    return walk_names(event->data, 2 * (PATH_BYTES + NAME_BYTES), at, vfsmount, dentry);
}

INLINE u32 bits_of(u64 word) {
    word -= word >> 1 & 0x5555555555555555;
    word = (word & 0x3333333333333333) + (word >> 2 & 0x3333333333333333);
    word = (word + (word >> 4)) & 0x0f0f0f0f0f0f0f0f;
    return word * 0x0101010101010101 >> 56;
}

// How many descriptors are open.
VERIFIED_ALONE u32 open_files_of(u64 table) {
    u64 open = (u64)READ(table, fdtable, open_fds), word = 0;
    u32 most = READ(table, fdtable, max_fds), count = 0;
    for (u32 at = 0; at < WORDS && at * 64 < most; at++) {
        read_kernel(&word, sizeof word, (void *)(open + at * 8));
        count += bits_of(word);
    }
    return count;
}

// How many of the first ones are sockets.
VERIFIED_ALONE u32 sockets_of(u64 table) {
    u64 open = (u64)READ(table, fdtable, open_fds), files = (u64)READ(table, fdtable, fd), word = 0;
    u32 most = READ(table, fdtable, max_fds), sockets = 0;
    for (u32 number = 0; number < DESCRIPTORS && number < DESCRIPTORS_MAX && number < most; number++) {
        if (number % 64 == 0) read_kernel(&word, sizeof word, (void *)(open + number / 64 * 8));
        if (!(word >> (number % 64) & 1)) continue;
        u64 file = 0;
        read_kernel(&file, sizeof file, (void *)(files + number * 8));
        u64 inode = (u64)READ(file, file, f_inode);
        sockets += (READ(inode, inode, i_mode) & S_IFMT) == S_IFSOCK;
    }
    return sockets;
}

// One number for all control groups of a process, of whatever hierarchies they are: their own numbers are not given twice. Those of named
// hierarchies alone have none.
INLINE u64 all_cgroups_of(const struct css_set *groups) {
    u64 all = current_cgroup_id();
    u32 count = FIELD_BYTES(css_set, subsys) / sizeof(void *);
    for (u32 number = 0; number < 16 && number < count; number++) {
        u64 group = 0;
        read_kernel(&group, sizeof group, &groups->subsys[number]);
        if (group) all = all * 0x9e3779b97f4a7c15 + READ(group, cgroup_subsys_state, serial_nr);
    }
    return all;
}

INLINE u32 terminal_of(const struct signal_struct *signal) {
    u64 tty = (u64)signal->tty;
    if (!tty) return 0;
    u64 driver = (u64)READ(tty, tty_struct, driver);
    u32 major = READ(driver, tty_driver, major);
    u32 minor = READ(driver, tty_driver, minor_start) + READ(tty, tty_struct, index);
    return (minor & 0xff) | major << 8 | (minor & ~0xffu) << 12;
}

// What is told of a process with every event.
INLINE void describe(struct event *event, u8 kind, const struct task_struct *task) {
    const struct task_struct *leader = task->group_leader;
    const struct signal_struct *signal = task->signal;
    const struct cred *cred = task->cred;
    event->at_ns = boot_ns();
    event->started_ns = leader->start_boottime;
    event->kind = kind;
    event->flags = task->flags & PF_KTHREAD ? KERNEL_THREAD : 0;
    event->unreadable = 0;
    event->pid = task->tgid;
    event->parent_pid = leader->real_parent->tgid;
    event->session = READ(signal->pids[PIDTYPE_SID], pid, numbers[0].nr);
    event->terminal = terminal_of(signal);
    event->threads = signal->nr_threads;
    event->uid = cred->uid.val;
    event->gid = cred->gid.val;
    event->euid = cred->euid.val;
    event->egid = cred->egid.val;
    event->login_uid = FIELD_EXISTS(task_struct, loginuid) ? task->loginuid.val : -1;
    event->exit_code = 0;
    event->open_files = event->sockets = 0;
    event->user_ns = signal->utime + task->utime;
    event->system_ns = signal->stime + task->stime;
    event->ran_ns = signal->sum_sched_runtime + task->se.sum_exec_runtime;
    if (leader != task) {
        event->user_ns += leader->utime;
        event->system_ns += leader->stime;
        event->ran_ns += leader->se.sum_exec_runtime;
    }
    event->exe_bytes = event->cwd_bytes = event->argv_bytes = 0;
    event->cgroup_id = 0;
    read_kernel(event->comm, sizeof event->comm, leader->comm);
}

INLINE int told(u32 place, struct event *event, u32 bytes) {
    if (bytes > sizeof event->data) bytes = sizeof event->data;
    if (ring_output(&events, event, HEADER_BYTES + bytes, 0)) return decided(place, DROPPED_RING);
    return decided(place, SUBMITTED);
}

SEC("tp_btf/sched_process_fork")
int process_fork(u64 *ctx) {
    const struct task_struct *child = (void *)ctx[1];
    u32 place = FORK;
    if (child->pid != child->tgid) return decided(FORK, THREADS);
    struct event *event = map_lookup(&scratch, &place);
    if (!event) return 0;
    describe(event, FORK, child);
    return told(FORK, event, 0);
}

INLINE void add_executable(struct event *event, u64 file) {
    u64 inode = (u64)READ(file, file, f_inode);
    u64 super = (u64)READ(inode, inode, i_sb);
    event->inode = READ(inode, inode, i_ino);
    event->bytes = READ(inode, inode, i_size);
    event->mode = READ(inode, inode, i_mode);
    event->links = READ(inode, inode, i_nlink);
    event->device = READ(super, super_block, s_dev);
    if (FIELD_EXISTS(inode, i_ctime_sec)) {
        event->changed_s = READ(inode, inode, i_ctime_sec);
        event->changed_ns = READ(inode, inode, i_ctime_nsec) & TIME_BITS;
    } else if (FIELD_EXISTS(inode___6_6, __i_ctime)) {
        event->changed_s = READ(inode, inode___6_6, __i_ctime.tv_sec);
        event->changed_ns = READ(inode, inode___6_6, __i_ctime.tv_nsec);
    } else {
        event->changed_s = READ(inode, inode___old, i_ctime.tv_sec);
        event->changed_ns = READ(inode, inode___old, i_ctime.tv_nsec);
    }
    u64 type = (u64)READ(super, super_block, s_type);
    read_kernel_str(event->fs_type, sizeof event->fs_type, READ(type, file_system_type, name));
}

SEC("tp_btf/sched_process_exec")
int process_exec(u64 *ctx) {
    const struct task_struct *task = (void *)ctx[0];
    u32 place = EXEC, at = 0;
    struct event *event = map_lookup(&scratch, &place);
    if (!event) return 0;
    describe(event, EXEC, task);
    event->cgroup_id = all_cgroups_of(task->cgroups);
    const struct mm_struct *memory = task->mm;
    u64 file = memory ? (u64)memory->exe_file : 0;
    if (file) {
        add_executable(event, file);
        u32 walked = walk(at, (u64)READ(file, file, f_path.mnt), (u64)READ(file, file, f_path.dentry));
        event->exe_bytes = (walked & BYTES) - at;
        event->flags |= (walked & DELETED ? EXE_DELETED : 0) | (walked & CUT ? EXE_CUT : 0);
        at = walked & BYTES;
    } else {
        event->unreadable |= NO_EXE;
    }
    u64 fs = (u64)task->fs;
    if (fs) {
        u32 walked = walk(at, (u64)READ(fs, fs_struct, pwd.mnt), (u64)READ(fs, fs_struct, pwd.dentry));
        event->cwd_bytes = (walked & BYTES) - at;
        event->flags |= (walked & DELETED ? CWD_DELETED : 0) | (walked & CUT ? CWD_CUT : 0);
        at = walked & BYTES;
    } else {
        event->unreadable |= NO_CWD;
    }
    if (at > 2 * (PATH_BYTES + NAME_BYTES)) at = 2 * (PATH_BYTES + NAME_BYTES);
    u64 start = memory ? memory->arg_start : 0;
    u64 length = memory ? memory->arg_end - start : 0;
    if (length > ARGV_BYTES_MAX) length = ARGV_BYTES_MAX;
    if (length > ARGV_BYTES) length = ARGV_BYTES;
    if (memory && !read_user(event->data + at, length, (void *)start)) {
        event->argv_bytes = length;
        at += length;
    } else {
        event->unreadable |= NO_CMDLINE;
    }
    u64 table = (u64)READ(task->files, files_struct, fdt);
    event->open_files = open_files_of(table);
    event->sockets = sockets_of(table);
    return told(EXEC, event, at);
}

SEC("tp_btf/sched_process_exit")
int process_exit(u64 *ctx) {
    const struct task_struct *task = (void *)ctx[0];
    const struct task_struct *leader = task->group_leader;
    const struct signal_struct *signal = task->signal;
    u32 place = EXIT;
    if (signal->live.counter > 0) return decided(EXIT, THREADS);
    struct ended ended = {.started_ns = leader->start_boottime, .pid = task->tgid};
    u8 yes = 1;
    if (map_update(&ends, &ended, &yes, NOEXIST) && map_lookup(&ends, &ended)) return decided(EXIT, THREADS);
    struct event *event = map_lookup(&scratch, &place);
    if (!event) return 0;
    describe(event, EXIT, task);
    event->exit_code = signal->flags & SIGNAL_GROUP_EXIT ? signal->group_exit_code : leader->exit_code;
    return told(EXIT, event, 0);
}

char _license[] SEC("license") = "GPL";

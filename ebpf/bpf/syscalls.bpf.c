// System calls: chosen ones become events with arguments, strings, result and duration; all others are counted.
//
// Calls are seen where they are carried out, in functions of their own, so that those that nobody asked for cost nothing; where the kernel
// lets no program there, at the tracepoints of all calls. A call is noted when it is entered and told when it returns, so strings and addresses are read when the kernel has read
// them, too. Each call is counted as seen in the moment in which it is decided what becomes of it, and at once as one of filtered,
// sampled out, limited, dropped, unfinished or submitted: these are what was seen, at every moment. Where the kernel does not run a
// program because the processor is in the midst of it already, it counts that itself.
// Not here: calls that never return (exit, and threads that are ended within one), which are counted as unfinished. What the calls mean is not known here:
// which arguments are strings, user space says for each number.
#include "kernel.h"
#include "paths.h"
#include "sockets.h"

#define NUMBERS 512
#define STRING_BYTES 4096
#define ARGV_BYTES 4096

enum counter { SEEN, FILTERED, COMPAT, SAMPLED_OUT, LIMITED, DROPPED_RING, DROPPED_IN_FLIGHT, UNFINISHED, SUBMITTED, COUNTERS };

// Programs that count.
enum place { ENTER, EXIT, END, PLACES };
#include "counters.h"

// For each number; arguments are counted from 1, 0 is none.
struct rule {
    u8 is_wanted;
    u8 first_string, second_string;
    u8 is_exec;
    // Or PEER, which is no argument.
    u8 address, address_bytes;
    // 0: any; 1: those that succeeded; 2: those that failed.
    u8 result;
    // An argument of which one of the bits in `mask` must be set.
    u8 masked;
    // One of so many, by a count for each number; 0 and 1 are all.
    u32 one_of;
    u32 mask;
    // Arguments that are where memory begins and how much it is: what it was before is looked at.
    u8 memory, memory_bytes;
    // Another argument of which one of the bits in `or_mask` must be set, where none of those in `and_mask` is in the masked one. 0: there is
    // no such condition.
    u8 or_masked;
    // What a relative first string is a path from: an argument with a descriptor, or WORKING.
    u8 directory;
    u32 and_mask, or_mask;
};

#define WORKING 7
#define PEER 7

// 0: not looked at; 1: only those that are listed; 2: all but those.
struct settings {
    u32 own_pid;
    u8 pids, uids, comms, cgroups, paths, trees;
    u8 unused[6];
    // Events of a process: one each `interval_ns`, and so many at once as there are intervals in `tolerance_ns`; 0: no limit.
    u64 interval_ns, tolerance_ns;
};

struct call {
    u64 entered_ns;
    u64 arguments[6];
    u32 number;
    // Bits as in `event`, or 0.
    u32 memory;
};

struct bucket {
    // When the last of its events would have come at the steady rate.
    u64 due_ns;
};

struct event {
    u64 entered_ns, duration_ns;
    u64 arguments[6];
    s64 result;
    u64 cgroup_id, process_started_ns;
    u32 number, pid, tid, parent_pid;
    u32 uid, gid, euid, egid;
    // Of the thread, and of its process's first one.
    char comm[16], process_comm[16];
    // Of `data`: with the closing zero; 0: not there.
    u16 first_bytes, second_bytes;
    // Of argv, or of an address.
    u16 third_bytes;
    // Bits: the first, the second, the third could not be read.
    u8 unreadable;
    // Bits: see `enum told`.
    u8 told;
    // Of the directory's path, as `walk_names` has it.
    u16 directory_bytes;
    char data[2 * STRING_BYTES + ARGV_BYTES + PATH_BYTES + NAME_BYTES];
};
#define HEADER_BYTES __builtin_offsetof(struct event, data)

// The third is argv; it is known what the memory was; it had pages of its own, as memory has that was written; and what it was for: VM_READ,
// VM_WRITE and VM_EXEC; the first string is relative, and from where is known.
enum told { IS_ARGV = 1, MEMORY_KNOWN = 2, MEMORY_WRITTEN = 4, MEMORY_FOR = 8, DIRECTORY_KNOWN = 64 };
#define VM_ACCESS 7

struct {
    __uint(type, ARRAY);
    __uint(max_entries, NUMBERS);
    __type(key, u32);
    __type(value, struct rule);
} rules SEC(".maps");

struct {
    __uint(type, ARRAY);
    __uint(max_entries, 1);
    __type(key, u32);
    __type(value, struct settings);
} settings SEC(".maps");

struct {
    __uint(type, HASH);
    __uint(max_entries, 65536);
    __type(key, u32);
    __type(value, struct call);
} in_flight SEC(".maps");

// How many calls of each number came to sampling.
struct {
    __uint(type, PERCPU_ARRAY);
    __uint(max_entries, NUMBERS);
    __type(key, u32);
    __type(value, u64);
} sampled SEC(".maps");

struct {
    __uint(type, PERCPU_ARRAY);
    __uint(max_entries, 1);
    __type(key, u32);
    __type(value, struct event);
} scratch SEC(".maps");

struct {
    __uint(type, RINGBUF);
    __uint(max_entries, 1 << 23);
} events SEC(".maps");

struct {
    __uint(type, LRU_HASH);
    __uint(max_entries, 16384);
    __type(key, u32);
    __type(value, struct bucket);
} buckets SEC(".maps");

struct {
    __uint(type, HASH);
    __uint(max_entries, 4096);
    __type(key, u32);
    __type(value, u8);
} pids SEC(".maps");

// Processes below those that are listed; children are added as they come.
struct {
    __uint(type, LRU_HASH);
    __uint(max_entries, 65536);
    __type(key, u32);
    __type(value, u8);
} trees SEC(".maps");

struct {
    __uint(type, HASH);
    __uint(max_entries, 4096);
    __type(key, u32);
    __type(value, u8);
} uids SEC(".maps");

struct comm {
    char text[16];
};

struct {
    __uint(type, HASH);
    __uint(max_entries, 4096);
    __type(key, struct comm);
    __type(value, u8);
} comms SEC(".maps");

struct {
    __uint(type, HASH);
    __uint(max_entries, 4096);
    __type(key, u64);
    __type(value, u8);
} cgroups SEC(".maps");

// Paths of programs that have just been started, by thread: the memory that the path was in is gone when execve returns.
#define PROGRAM_BYTES 1024
struct program {
    u32 bytes;
    char path[PROGRAM_BYTES];
};

struct {
    __uint(type, HASH);
    __uint(max_entries, 4096);
    __type(key, u32);
    __type(value, struct program);
} programs SEC(".maps");

struct {
    __uint(type, PERCPU_ARRAY);
    __uint(max_entries, 1);
    __type(key, u32);
    __type(value, struct program);
} started SEC(".maps");

#define PREFIX_BYTES 64
struct prefix {
    u32 bits;
    char text[PREFIX_BYTES];
};

struct {
    __uint(type, LPM_TRIE);
    __uint(map_flags, 1);
    __uint(max_entries, 4096);
    __type(key, struct prefix);
    __type(value, u8);
} paths SEC(".maps");

// Whether a list that is looked at in this way lets it through.
INLINE int passes(u8 how, void *list, const void *key) {
    if (how == 0) return 1;
    return (map_lookup(list, key) != 0) == (how == 1);
}

INLINE int is_of_interest(const struct settings *of, u32 pid, const struct task_struct *task) {
    if (!passes(of->pids, &pids, &pid) || !passes(of->trees, &trees, &pid)) return 0;
    if (of->uids) {
        u32 uid = task->cred->uid.val;
        if (!passes(of->uids, &uids, &uid)) return 0;
    }
    if (of->comms) {
        struct comm comm = {};
        current_comm(comm.text, sizeof comm.text);
        if (!passes(of->comms, &comms, &comm)) return 0;
    }
    if (of->cgroups) {
        u64 cgroup = current_cgroup_id();
        if (!passes(of->cgroups, &cgroups, &cgroup)) return 0;
    }
    return 1;
}

INLINE u64 argument(const struct call *call, u8 place) {
    switch (place) {
    case 1: return call->arguments[0];
    case 2: return call->arguments[1];
    case 3: return call->arguments[2];
    case 4: return call->arguments[3];
    case 5: return call->arguments[4];
    default: return call->arguments[5];
    }
}

// Whether this kernel has find_vma.
volatile const u32 FINDS_MEMORY = 0;

struct area {
    u64 end;
    u32 told;
};

static long on_area(struct task_struct *task, struct vm_area_struct *area, struct area *found) {
    found->end = area->vm_end;
    found->told = MEMORY_KNOWN | (area->anon_vma ? MEMORY_WRITTEN : 0) | (area->vm_flags & VM_ACCESS) * MEMORY_FOR;
    return 0;
}

// A call changes as many areas at once as it likes; so many are looked at.
#define AREAS_MAX 8

// All that the areas from `from` on were; 0 where that cannot be known: nothing is there, or another thread is changing them just now.
INLINE u32 memory_before(const struct task_struct *task, u64 from, u64 bytes) {
    struct area area = {.end = from};
    u32 told = 0;
    for (int areas = 0; areas < AREAS_MAX; areas++) {
        u64 at = area.end;
        if (find_vma(task, at, on_area, &area, 0)) return areas ? told : 0;
        told |= area.told;
        if (area.end <= at || area.end - from >= bytes) break;
    }
    return told;
}

// Whether its arguments are of interest.
INLINE int is_masked_out(const struct rule *rule, const struct call *call) {
    if (!rule->masked) return 0;
    u64 first = argument(call, rule->masked);
    if (!(first & rule->mask)) return 1;
    if (!rule->or_masked || first & rule->and_mask) return 0;
    return !(argument(call, rule->or_masked) & rule->or_mask);
}

// One code for all programs that call it.
static __attribute__((noinline)) int entered(const struct pt_regs *regs, u32 number) {
    const struct task_struct *task = current_task();
    u32 zero = 0;
    u64 ids = current_pid_tgid();
    u32 tid = ids, pid = ids >> 32;
    const struct settings *of = map_lookup(&settings, &zero);
    // The agent's own calls would feed on themselves.
    if (!of || of->own_pid == pid) return 0;
    if (IS_COMPAT(task)) return decided(ENTER, COMPAT);
    const struct rule *rule = map_lookup(&rules, &number);
    if (!rule || !rule->is_wanted || !is_of_interest(of, pid, task)) return decided(ENTER, FILTERED);
    struct call call = {.entered_ns = boot_ns(), .arguments = ARGUMENTS(regs), .number = number};
    if (is_masked_out(rule, &call)) {
        // One of the same number that did not return, as far as was seen, is not to be told as this one.
        if (!map_delete(&in_flight, &tid)) decided(ENTER, UNFINISHED);
        return decided(ENTER, FILTERED);
    }
    if (FINDS_MEMORY && rule->memory)
        call.memory = memory_before(task, argument(&call, rule->memory), argument(&call, rule->memory_bytes));
    if (!map_update(&in_flight, &tid, &call, NOEXIST)) return 0;
    if (!map_lookup(&in_flight, &tid)) return decided(ENTER, DROPPED_IN_FLIGHT);
    decided(ENTER, UNFINISHED);
    if (map_update(&in_flight, &tid, &call, 0)) return decided(ENTER, DROPPED_IN_FLIGHT);
    return 0;
}

// Whether the process may have one more event.
INLINE int takes_token(const struct settings *of, u32 pid, u64 now_ns) {
    struct bucket *bucket = map_lookup(&buckets, &pid);
    if (!bucket) {
        struct bucket full = {};
        map_update(&buckets, &pid, &full, NOEXIST);
        bucket = map_lookup(&buckets, &pid);
        if (!bucket) return 1;
    }
    // Threads of the process may come here at once.
    for (int attempt = 0; attempt < 16; attempt++) {
        u64 due_ns = *(volatile u64 *)&bucket->due_ns;
        u64 next_ns = (due_ns > now_ns ? due_ns : now_ns) + of->interval_ns;
        if (next_ns - now_ns > of->tolerance_ns) return 0;
        if (__sync_val_compare_and_swap(&bucket->due_ns, due_ns, next_ns) == due_ns) return 1;
    }
    return 0;
}

INLINE int is_sampled_out(const struct rule *rule, u32 number) {
    if (rule->one_of < 2) return 0;
    u64 *came = map_lookup(&sampled, &number);
    if (!came) return 0;
    u64 before = *came;
    *came = before + 1;
    return before % rule->one_of != 0;
}

#define AT_FDCWD (-100)

// What the thread has open under this descriptor; 0 where that is nothing.
INLINE u64 opened(const struct task_struct *task, u32 descriptor) {
    u64 table = (u64)READ(task->files, files_struct, fdt), file = 0;
    if (descriptor >= READ(table, fdtable, max_fds)) return 0;
    read_kernel(&file, sizeof file, (void *)((u64)READ(table, fdtable, fd) + (u64)descriptor * 8));
    return file;
}

// Appends the address of whom this descriptor's socket is connected to. How many bytes that is.
VERIFIED_ALONE u32 add_peer(u32 at, u32 descriptor) {
    u32 zero = 0;
    struct event *event = map_lookup(&scratch, &zero);
    u64 file = opened(current_task(), descriptor);
    if (!event || !file || at > 2 * STRING_BYTES) return 0;
    return peer_of((u64)READ(file, file, private_data), event->data + at);
}

// Appends the path of the directory of this descriptor of the thread, or of the one that it works in. As `walk_names`.
VERIFIED_ALONE u32 walk_directory(u32 at, u32 descriptor) {
    const struct task_struct *task = current_task();
    u32 zero = 0;
    struct event *event = map_lookup(&scratch, &zero);
    if (!event) return at | CUT;
    u64 mount, dentry;
    if (descriptor == (u32)AT_FDCWD) {
        u64 fs = (u64)task->fs;
        mount = (u64)READ(fs, fs_struct, pwd.mnt);
        dentry = (u64)READ(fs, fs_struct, pwd.dentry);
    } else {
        u64 file = opened(task, descriptor);
        mount = (u64)READ(file, file, f_path.mnt);
        dentry = (u64)READ(file, file, f_path.dentry);
    }
    if (!mount || !dentry) return at | CUT;
    return walk_names(event->data, sizeof event->data, at, mount, dentry);
}

static __attribute__((noinline)) int returned(const struct pt_regs *regs, s64 result) {
    u32 number = NUMBER(regs), zero = 0;
    // Most calls end here; to ask the map of those under way costs several times as much. A call that was wanted when it began, and is
    // not any more, stays there until the thread's next one, or its end.
    const struct rule *rule = map_lookup(&rules, &number);
    if (!rule || !rule->is_wanted) return 0;
    u64 ids = current_pid_tgid();
    u32 tid = ids, pid = ids >> 32;
    struct call *call = map_lookup(&in_flight, &tid);
    // Counted when it was entered, or it was entered before anybody looked.
    if (!call) return 0;
    const struct settings *of = map_lookup(&settings, &zero);
    struct event *event = map_lookup(&scratch, &zero);
    if (call->number != number || !of || !event) {
        // An earlier one, whose return was not seen; this one was filtered.
        map_delete(&in_flight, &tid);
        return decided(EXIT, UNFINISHED);
    }
    u64 now_ns = boot_ns();
    if (rule->result && (result >= 0) != (rule->result == 1)) {
        map_delete(&in_flight, &tid);
        return decided(EXIT, FILTERED);
    }
    const struct task_struct *task = current_task();
    event->first_bytes = event->second_bytes = event->third_bytes = 0;
    event->unreadable = 0;
    event->told = call->memory;
    u32 at = 0;
    long bytes;
    // What a program is replaced with is told by its arguments: the memory of before is gone.
    int is_replaced = rule->is_exec && result == 0;
    if (is_replaced) {
        struct program *program = map_lookup(&programs, &tid);
        if (program) {
            u32 length = program->bytes;
            if (length > PROGRAM_BYTES) length = PROGRAM_BYTES;
            read_kernel(event->data, length, program->path);
            event->first_bytes = length;
            at = length;
            map_delete(&programs, &tid);
        } else {
            event->unreadable |= 1;
        }
    } else if (rule->first_string) {
        bytes = read_user_str(event->data, STRING_BYTES, (void *)argument(call, rule->first_string));
        if (bytes > 0) {
            event->first_bytes = bytes;
            at = bytes;
        } else {
            event->unreadable |= 1;
        }
    }
    if (of->paths && rule->first_string) {
        struct prefix prefix = {.bits = PREFIX_BYTES * 8};
        if (at > 0) __builtin_memcpy(prefix.text, event->data, PREFIX_BYTES);
        if (!passes(of->paths, &paths, &prefix)) {
            map_delete(&in_flight, &tid);
            return decided(EXIT, FILTERED);
        }
    }
    if (is_sampled_out(rule, number)) {
        map_delete(&in_flight, &tid);
        return decided(EXIT, SAMPLED_OUT);
    }
    if (of->interval_ns && !takes_token(of, pid, now_ns)) {
        map_delete(&in_flight, &tid);
        return decided(EXIT, LIMITED);
    }
    if (at > STRING_BYTES) at = STRING_BYTES;
    if (rule->second_string && !is_replaced) {
        bytes = read_user_str(event->data + at, STRING_BYTES, (void *)argument(call, rule->second_string));
        if (bytes > 0) {
            event->second_bytes = bytes;
            at += bytes;
        } else {
            event->unreadable |= 2;
        }
    }
    if (at > 2 * STRING_BYTES) at = 2 * STRING_BYTES;
    if (is_replaced) {
        const struct mm_struct *memory = task->mm;
        event->told |= IS_ARGV;
        if (memory) {
            u64 start = memory->arg_start, length = memory->arg_end - start;
            if (length > ARGV_BYTES) length = ARGV_BYTES;
            if (!read_user(event->data + at, length, (void *)start)) {
                event->third_bytes = length;
                at += length;
            } else {
                event->unreadable |= 4;
            }
        }
    } else if (rule->address == PEER) {
        u32 length = result >= 0 ? add_peer(at, result) : 0;
        if (length > ADDRESS_BYTES) length = ADDRESS_BYTES;
        event->third_bytes = length;
        at += length;
    } else if (rule->address) {
        u64 length = argument(call, rule->address_bytes);
        if (length > ADDRESS_BYTES) length = ADDRESS_BYTES;
        if (!read_user(event->data + at, length, (void *)argument(call, rule->address))) {
            event->third_bytes = length;
            at += length;
        } else {
            event->unreadable |= 4;
        }
    }
    event->directory_bytes = 0;
    if (rule->directory && event->first_bytes > 1 && event->data[0] != '/') {
        u32 descriptor = rule->directory == WORKING ? AT_FDCWD : argument(call, rule->directory);
        u32 walked = walk_directory(at, descriptor);
        // Of one that is gone, or too deep, no path is the right one.
        if (!(walked & (DELETED | CUT))) {
            event->told |= DIRECTORY_KNOWN;
            event->directory_bytes = (walked & BYTES) - at;
            at = walked & BYTES;
        }
    }
    event->entered_ns = call->entered_ns;
    event->duration_ns = now_ns - call->entered_ns;
    __builtin_memcpy(event->arguments, call->arguments, sizeof event->arguments);
    map_delete(&in_flight, &tid);
    event->result = result;
    event->cgroup_id = current_cgroup_id();
    event->process_started_ns = task->group_leader->start_boottime;
    event->number = number;
    event->pid = pid;
    event->tid = tid;
    event->parent_pid = task->real_parent->tgid;
    event->uid = task->cred->uid.val;
    event->gid = task->cred->gid.val;
    event->euid = task->cred->euid.val;
    event->egid = task->cred->egid.val;
    current_comm(event->comm, sizeof event->comm);
    read_kernel(event->process_comm, sizeof event->process_comm, task->group_leader->comm);
    if (at > sizeof event->data) at = sizeof event->data;
    if (ring_output(&events, event, HEADER_BYTES + at, 0)) return decided(EXIT, DROPPED_RING);
    return decided(EXIT, SUBMITTED);
}

SEC("tp_btf/sys_enter")
int sys_enter(u64 *ctx) { return entered((void *)ctx[0], ctx[1]); }

SEC("tp_btf/sys_exit")
int sys_exit(u64 *ctx) { return returned((void *)ctx[0], ctx[1]); }

// As many functions of calls as there may be; which one a program is of is said when it is loaded.
#define SLOT(number)                                                                                                 \
    SEC("fentry/call") int enter_##number(u64 *ctx) {                                                                \
        const struct pt_regs *regs = (void *)ctx[0];                                                                 \
        return entered(regs, NUMBER(regs));                                                                          \
    }                                                                                                                \
    SEC("fexit/call") int exit_##number(u64 *ctx) { return returned((void *)ctx[0], ctx[1]); }
#define SLOTS(tens)                                                                                                  \
    SLOT(tens##0) SLOT(tens##1) SLOT(tens##2) SLOT(tens##3) SLOT(tens##4)                                            \
    SLOT(tens##5) SLOT(tens##6) SLOT(tens##7) SLOT(tens##8) SLOT(tens##9)
SLOTS(1) SLOTS(2) SLOTS(3) SLOTS(4) SLOTS(5)

// A thread that is not its process's first has that one's id behind its execve.
SEC("tp_btf/sched_process_exec")
int sched_process_exec(u64 *ctx) {
    const struct task_struct *task = (void *)ctx[0];
    const struct linux_binprm *binary = (void *)ctx[2];
    u32 before = ctx[1], now = task->pid, zero = 0;
    struct call *call = map_lookup(&in_flight, &before);
    struct program *program = map_lookup(&started, &zero);
    if (!call || !program) return 0;
    long bytes = read_kernel_str(program->path, PROGRAM_BYTES, binary->filename);
    if (bytes > 0) {
        program->bytes = bytes;
        map_update(&programs, &now, program, 0);
    }
    if (before == now) return 0;
    struct call moved = *call;
    map_delete(&in_flight, &before);
    map_update(&in_flight, &now, &moved, 0);
    return 0;
}

SEC("tp_btf/sched_process_fork")
int sched_process_fork(u64 *ctx) {
    const struct task_struct *parent = (void *)ctx[0], *child = (void *)ctx[1];
    u32 above = parent->tgid, below = child->tgid;
    u8 *is_below = map_lookup(&trees, &above);
    if (!is_below || above == below) return 0;
    u8 yes = 1;
    map_update(&trees, &below, &yes, 0);
    return 0;
}

SEC("tp_btf/sched_process_exit")
int sched_process_exit(u64 *ctx) {
    const struct task_struct *task = (void *)ctx[0];
    u32 tid = task->pid, pid = task->tgid;
    if (!map_delete(&in_flight, &tid)) decided(END, UNFINISHED);
    map_delete(&programs, &tid);
    if (tid == pid) {
        map_delete(&buckets, &pid);
        map_delete(&trees, &pid);
    }
    return 0;
}

char _license[] SEC("license") = "GPL";

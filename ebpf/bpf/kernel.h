// What the programs need of the kernel and of its helpers; in the place of a vmlinux.h of three megabytes.
//
// Fields are found by name in the running kernel's BTF when the programs are loaded (CO-RE), so a struct here lists only those
// that are read, in any order.
#ifndef AMOSKYS_KERNEL_H
#define AMOSKYS_KERNEL_H

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef signed int s32;
typedef signed long long s64;

#define SEC(name) __attribute__((section(name), used))
#define INLINE static __attribute__((always_inline))
// Of the kernel's verifier: looked at once for all arguments, not again for each way to it. Takes and returns numbers.
#define VERIFIED_ALONE __attribute__((noinline))
#define __uint(name, value) int(*name)[value]
#define __type(name, value) typeof(value) *name
#define __array(name, value) typeof(value) *name[]

// Of map_update: the key must be new.
#define NOEXIST 1
// Of maps: memory is taken when it is needed.
#define NO_PREALLOC 1
// Of task_storage: begin it, of zeros, where there is none.
#define STORAGE_CREATE 1

enum map_type { HASH = 1, ARRAY = 2, PERCPU_ARRAY = 6, LRU_HASH = 9, LPM_TRIE = 11, ARRAY_OF_MAPS = 12, RINGBUF = 27, TASK_STORAGE = 29 };

static void *(*map_lookup)(void *map, const void *key) = (void *)1;
static long (*map_update)(void *map, const void *key, const void *value, u64 flags) = (void *)2;
static long (*map_delete)(void *map, const void *key) = (void *)3;
static u64 (*current_pid_tgid)(void) = (void *)14;
static long (*current_comm)(void *to, u32 size) = (void *)16;
static u64 (*current_cgroup_id)(void) = (void *)80;
static long (*read_user)(void *to, u32 size, const void *from) = (void *)112;
static long (*read_kernel)(void *to, u32 size, const void *from) = (void *)113;
static long (*read_user_str)(void *to, u32 size, const void *from) = (void *)114;
static long (*read_kernel_str)(void *to, u32 size, const void *from) = (void *)115;
static u64 (*boot_ns)(void) = (void *)125;
static long (*ring_output)(void *ring, void *data, u64 size, u64 flags) = (void *)130;
static void *(*task_storage)(void *map, void *task, void *value, u64 flags) = (void *)156;
static void *(*current_task)(void) = (void *)158;
// From Linux 5.17 on. Calls back with the area that an address is in.
static long (*find_vma)(const void *task, u64 address, void *on_area, void *context, u64 flags) = (void *)180;

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct thread_info {
    u32 status;
};
struct kuid {
    u32 val;
};
struct cred {
    struct kuid uid, gid, euid, egid;
};
struct mm_struct {
    unsigned long arg_start, arg_end;
    struct file *exe_file;
};
struct vm_area_struct {
    unsigned long vm_end, vm_flags;
    void *anon_vma;
};
struct linux_binprm {
    const char *filename;
};
struct sched_entity {
    u64 sum_exec_runtime;
};
struct task_struct {
    struct thread_info thread_info;
    u32 flags;
    s32 pid, tgid;
    s32 exit_code;
    struct task_struct *real_parent, *group_leader;
    const struct cred *cred;
    struct mm_struct *mm;
    struct signal_struct *signal;
    struct fs_struct *fs;
    struct files_struct *files;
    struct css_set *cgroups;
    u64 start_boottime;
    u64 utime, stime;
    struct sched_entity se;
    struct kuid loginuid;
    char comm[16];
};
#ifdef __TARGET_ARCH_arm64
struct pt_regs {
    u64 regs[31];
    u64 orig_x0;
    s32 syscallno;
};
#else
struct pt_regs {
    unsigned long di, si, dx, r10, r8, r9, orig_ax;
};
#endif
#pragma clang attribute pop

#ifdef __TARGET_ARCH_arm64
#define NUMBER(regs) ((u32)(regs)->syscallno)
#define ARGUMENTS(regs)                                                                                              \
    { (regs)->orig_x0, (regs)->regs[1], (regs)->regs[2], (regs)->regs[3], (regs)->regs[4], (regs)->regs[5] }
#define IS_COMPAT(task) 0
#else
#define NUMBER(regs) ((u32)(regs)->orig_ax)
#define ARGUMENTS(regs)                                                                                              \
    { (regs)->di, (regs)->si, (regs)->dx, (regs)->r10, (regs)->r8, (regs)->r9 }
// A call by the numbers of 32-bit programs: TS_COMPAT.
#define IS_COMPAT(task) ((task)->thread_info.status & 2)
#endif

#endif

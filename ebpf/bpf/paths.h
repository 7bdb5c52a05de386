// Paths of what the kernel holds open, as a process without a root of its own sees them: component by component, the last first.
//
// Not here: what is done about one that is cut or deleted. Limits: so many names, of so many bytes together.
#ifndef AMOSKYS_PATHS_H
#define AMOSKYS_PATHS_H

#include "kernel.h"

// Of the path: what the kernel takes at most, and how much longer the last piece may make it.
#define PATH_BYTES 4096
#define NAME_BYTES 256
#define COMPONENTS 64

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct qstr {
    const unsigned char *name;
};
struct hlist_bl_node {
    void *pprev;
};
struct dentry {
    struct hlist_bl_node d_hash;
    struct dentry *d_parent;
    struct qstr d_name;
    struct inode *d_inode;
};
struct vfsmount {
    struct dentry *mnt_root;
};
struct mount {
    struct mount *mnt_parent;
    struct dentry *mnt_mountpoint;
    struct vfsmount mnt;
};
struct path {
    struct vfsmount *mnt;
    struct dentry *dentry;
};
struct file {
    struct path f_path;
    struct inode *f_inode;
    void *private_data;
};
struct fs_struct {
    struct path pwd;
};
struct fdtable {
    u32 max_fds;
    struct file **fd;
    unsigned long *open_fds;
};
struct files_struct {
    struct fdtable *fdt;
};
#pragma clang attribute pop

// Value of a field of what an address points to; 0 where it cannot be read.
#define READ(address, type, field)                                                                                   \
    ({                                                                                                               \
        typeof(((struct type *)0)->field) read_value = 0;                                                            \
        read_kernel(&read_value, sizeof read_value, &((struct type *)(address))->field);                             \
        read_value;                                                                                                  \
    })
#define FIELD_OFFSET(type, field) __builtin_preserve_field_info(((struct type *)0)->field, 0)

// Bits above the number of bytes.
#define BYTES 0xffffu
#define DELETED (1u << 16)
#define CUT (1u << 17)

// Appends the names of a path to `data`, of which there are `most` bytes, the last first, up to the mount that all others are mounted on.
// Bytes in the data after that, and what it found.
INLINE u32 walk_names(char *data, const u32 most, u32 at, u64 vfsmount, u64 dentry) {
    u32 end = at + PATH_BYTES, found = 0;
    u64 mount = vfsmount - FIELD_OFFSET(mount, mnt);
    u64 root = (u64)READ(vfsmount, vfsmount, mnt_root);
    u64 parent = (u64)READ(dentry, dentry, d_parent);
    if (parent != dentry && dentry != root && !READ(dentry, dentry, d_hash.pprev)) found = DELETED;
    for (int step = 0; step < COMPONENTS; step++) {
        parent = (u64)READ(dentry, dentry, d_parent);
        if (dentry == root) {
            u64 above = (u64)READ(mount, mount, mnt_parent);
            if (above == mount) return at | found;
            dentry = (u64)READ(mount, mount, mnt_mountpoint);
            mount = above;
            root = (u64)READ(mount, mount, mnt.mnt_root);
            continue;
        }
        u64 name = (u64)READ(dentry, dentry, d_name.name);
        // Compared and used in one register: before Linux 6.2 the verifier forgets what it knew of a number that is put aside.
        u32 to = at;
        asm volatile("" : "+r"(to));
        if (at > end || to > most - NAME_BYTES) break;
        long bytes = read_kernel_str(data + to, NAME_BYTES, (void *)name);
        if (bytes <= 0) break;
        at += bytes;
        // In no folder: a file that is only in memory.
        if (parent == dentry) return at | DELETED;
        dentry = parent;
    }
    return at | found | CUT;
}

#endif

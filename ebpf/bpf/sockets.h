// Whom a socket is connected to, as a `sockaddr`, which is how the kernel itself says it.
//
// Not here: what the address means. Limits: of families that are none of these the family alone.
#ifndef AMOSKYS_SOCKETS_H
#define AMOSKYS_SOCKETS_H

#include "kernel.h"
#include "paths.h"

#define ADDRESS_BYTES 128
#define AF_UNIX 1
#define AF_INET 2
#define AF_INET6 10

struct in6_addr {
    u8 octets[16];
};

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct sock_common {
    u16 skc_family;
    u16 skc_dport;
    u32 skc_daddr;
    struct in6_addr skc_v6_daddr;
};
struct sock {
    struct sock_common __sk_common;
};
struct socket {
    struct sock *sk;
};
struct sockaddr_un {
    u16 sun_family;
};
struct unix_address {
    int len;
    struct sockaddr_un name[];
};
struct unix_sock {
    struct unix_address *addr;
    struct sock *peer;
};
#pragma clang attribute pop

struct peer {
    u16 family, port;
    u32 four;
    struct in6_addr six;
};

// Writes the address to `data`, where ADDRESS_BYTES fit. How many bytes it is.
INLINE u32 peer_of(u64 socket, char *data) {
    u64 of = (u64)READ(socket, socket, sk);
    struct peer peer = {.family = READ(of, sock, __sk_common.skc_family)};
    u32 bytes = sizeof peer.family;
    if (peer.family == AF_INET || peer.family == AF_INET6) peer.port = READ(of, sock, __sk_common.skc_dport);
    if (peer.family == AF_INET) {
        peer.four = READ(of, sock, __sk_common.skc_daddr);
        bytes = __builtin_offsetof(struct peer, six);
    } else if (peer.family == AF_INET6) {
        read_kernel(&peer.six, sizeof peer.six, &((struct sock *)of)->__sk_common.skc_v6_daddr);
        bytes = sizeof peer;
    } else if (peer.family == AF_UNIX) {
        // Who connects has mostly no name.
        u64 other = (u64)READ(of, unix_sock, peer), address = other ? (u64)READ(other, unix_sock, addr) : 0;
        u32 length = address ? READ(address, unix_address, len) : 0;
        // Each bound by itself: Debian's verifier loses one that the compiler joins with another.
        if (length > ADDRESS_BYTES) length = ADDRESS_BYTES;
        if (!read_kernel(data, length, (void *)(address + FIELD_OFFSET(unix_address, name))) && length > bytes)
            return length;
    }
    __builtin_memcpy(data, &peer, sizeof peer);
    return bytes;
}

#endif

// What became of everything that a set of programs saw. To be included behind `enum counter`, which begins with SEEN and ends with COUNTERS, and
// `enum place`, which names the programs that count and ends with PLACES: a program may be interrupted by another one on its processor, but
// not by itself, so each has counters of its own.
#ifndef AMOSKYS_COUNTERS_H
#define AMOSKYS_COUNTERS_H

// Together, so that they are read at one moment.
struct counts {
    u64 of[COUNTERS];
};

struct {
    __uint(type, PERCPU_ARRAY);
    __uint(max_entries, PLACES);
    __type(key, u32);
    __type(value, struct counts);
} counters SEC(".maps");

// Something of which it is decided what becomes of it.
INLINE int decided(u32 place, enum counter which) {
    struct counts *counts = map_lookup(&counters, &place);
    if (!counts) return 0;
    counts->of[SEEN] += 1;
    counts->of[which] += 1;
    return 0;
}

#endif

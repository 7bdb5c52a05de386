//! The stated bound on memory holds whatever a record says. One test, for it counts every allocation of the process.

mod support;

use std::alloc::{GlobalAlloc, Layout as Block, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use amoskys_columns::{Decoder, Layout, Limits};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use support::{Chance, all_columns, put_bytes, put_key, put_varint, rich, wire};

struct Counting;

static NOW: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

#[allow(unsafe_code)]
// SAFETY: passes everything on to the system's allocator and only counts.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, block: Block) -> *mut u8 {
        let now = NOW.fetch_add(block.size(), Ordering::Relaxed) + block.size();
        PEAK.fetch_max(now, Ordering::Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.alloc(block) }
    }

    unsafe fn dealloc(&self, at: *mut u8, block: Block) {
        NOW.fetch_sub(block.size(), Ordering::Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(at, block) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Decodes a record with a new decoder; returns the most that was allocated meanwhile, and the bound.
fn decode(layout: &Layout, limits: Limits, record: &[u8]) -> (usize, usize, bool) {
    let mut decoder = Decoder::new(layout.clone(), limits);
    let before = NOW.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    let result = decoder.push(record);
    let peak = PEAK.load(Ordering::Relaxed);
    (peak - before, layout.bytes_per_record_max(&limits), result.is_ok())
}

fn layouts() -> Vec<Layout> {
    let (rich, batch) = (rich("Rich"), rich("RichBatch"));
    let all = all_columns(&rich);
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    let few = ["b", "r_b", "features", "r_inner", "str"];
    vec![
        Layout::new(&rich, &all).expect("a layout"),
        Layout::batch(&batch, &all).expect("a layout"),
        Layout::batch(&batch, &few).expect("a layout"),
        Layout::new(&rich, &few).expect("a layout"),
        Layout::batch(&batch, &[]).expect("a layout"),
    ]
}

/// Records made to blow up: as many rows, elements, entries or bytes as fit.
fn hostile(bytes: usize) -> Vec<(&'static str, Vec<u8>)> {
    let field = |number, value: &[u8]| {
        let mut out = Vec::new();
        put_key(number, 2, &mut out);
        put_bytes(value, false, &mut out);
        out
    };
    let fill = |piece: &[u8]| piece.repeat(bytes / piece.len());
    let mut huge = Vec::new();
    put_key(7, 2, &mut huge);
    put_varint(u64::MAX, false, &mut huge);
    let entries: Vec<u8> = (0..bytes as u64 / 30)
        .flat_map(|n| field(25, &field(1, format!("a key of more than twelve bytes {}", n / 2).as_bytes())))
        .collect();
    vec![
        ("empty events", fill(&field(2, &[]))),
        ("packed booleans", field(10, &vec![1; bytes - 16])),
        ("empty strings", fill(&field(13, &[]))),
        ("empty sub-messages", fill(&field(16, &[]))),
        ("sub-messages of one number each", fill(&field(16, &field(2, &[1])))),
        ("empty map entries", fill(&field(25, &[]))),
        ("map entries of long, repeated keys", entries[..entries.len().min(bytes)].to_vec()),
        ("maps of messages", fill(&field(26, &field(2, &field(2, &[1, 2, 3]))))),
        ("one long string", field(7, &vec![b'a'; bytes - 16])),
        ("strings of thirteen bytes", fill(&field(13, b"0123456789abc"))),
        ("a huge length", huge),
        ("groups in groups", [0x8b, 0x7d].repeat(bytes / 2)),
        ("events of a list each", fill(&field(2, &field(10, &[1, 1])))),
    ]
}

#[test]
fn no_record_takes_more_memory_than_stated() {
    let tight = Limits {
        record_bytes_max: 60_000,
        rows_per_record_max: 100,
        elements_per_record_max: 1000,
        group_depth_max: 10,
    };
    // How close the bound is: a bound that nothing comes near says nothing.
    let mut closest = 0.0f64;
    for (at, layout) in layouts().iter().enumerate() {
        for bytes in [50_000, 400_000] {
            for (name, record) in hostile(bytes) {
                // Nothing but the record's own length limits it.
                let open = Limits {
                    record_bytes_max: record.len(),
                    rows_per_record_max: record.len(),
                    elements_per_record_max: record.len(),
                    group_depth_max: record.len(),
                };
                for limits in [tight, open, Limits::default()] {
                    let (took, bound, _) = decode(layout, limits, &record);
                    assert!(took <= bound, "{name}, layout {at}: {took} bytes, stated are {bound}");
                    closest = closest.max(took as f64 / bound as f64);
                }
            }
        }
    }
    assert!(closest > 0.2, "the stated bound is far from what is taken: {closest}");

    let layouts = layouts();
    let message = rich("Rich");
    let bytes = proptest::collection::vec(any::<u8>(), 0..300);
    let run = |chance: Vec<u8>, cut: prop::sample::Index, layout: prop::sample::Index| {
        let whole = wire(&message, &mut Chance(&chance), 4);
        let truncated = &whole[..cut.index(whole.len() + 1)];
        let layout = layout.get(&layouts);
        for record in [&whole[..], truncated, &chance[..]] {
            let limits = Limits { record_bytes_max: record.len(), ..Limits::default() };
            let (took, bound, _) = decode(layout, limits, record);
            prop_assert!(took <= bound, "{took} bytes, stated are {bound}: {record:?}");
        }
        Ok(())
    };
    let strategy = (bytes, any::<prop::sample::Index>(), any::<prop::sample::Index>());
    TestRunner::deterministic()
        .run(&strategy, |(chance, cut, layout)| run(chance, cut, layout))
        .expect("within bounds");
}

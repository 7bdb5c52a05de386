//! The write-ahead log on a real disk.

use super::*;
use tempfile::TempDir;

const BOOT: &str = "boot-1";

fn config(folder: &TempDir, bytes_max: u64, when_full: WalFull) -> WalConfig {
    WalConfig { path: folder.path().join("wal"), bytes_max, when_full, fsync: Fsync::Never }
}

fn open(config: &WalConfig, boot: &str) -> (Wal, SharedNumbers) {
    let numbers = SharedNumbers::default();
    (Wal::open(config, boot, 5_000_000, numbers.clone()).expect("opens"), numbers)
}

/// Appends an envelope of two events that says its sequence number and is `bytes` long.
fn append(wal: &Wal, numbers: &SharedNumbers, bytes: usize) {
    numbers.lock().ledger.see(crate::ledger::Origin::Connector, 2);
    let seal = |sequence: u64, into: &mut Vec<u8>| {
        into.extend(sequence.to_le_bytes());
        into.resize(into.len() + bytes - 8, 0);
    };
    wal.append(Stream::Process, 2, 0, || true, seal).expect("appends");
}

fn sequences(wal: &Wal) -> Vec<u64> {
    let all = std::iter::from_fn(|| wal.next().expect("reads"));
    all.map(|stored| u64::from_le_bytes(stored.envelope[..8].try_into().expect("8 bytes"))).collect()
}

#[test]
fn what_is_not_forgotten_is_there_after_a_restart_and_numbers_go_on() {
    let folder = TempDir::new().expect("a folder");
    let config = config(&folder, 1 << 20, WalFull::DropOldest);
    let (wal, numbers) = open(&config, BOOT);
    (0..3).for_each(|_| append(&wal, &numbers, 100));
    let first = wal.next().expect("reads").expect("three were appended");
    wal.forget(&[first.leaving(Outcome::Acknowledged)]).expect("forgets");
    assert_eq!(numbers.lock().ledger.acknowledged(), 2);
    let seen = numbers.lock().clone();
    assert_eq!((seen.wal_records, seen.wal_bytes, seen.ledger.gap()), (2, 200, 0));
    drop(wal);

    let (wal, numbers) = open(&config, BOOT);
    let seen = numbers.lock().clone();
    assert_eq!((seen.ledger.recovered(), seen.wal_records), (4, 2));
    append(&wal, &numbers, 100);
    assert_eq!(sequences(&wal), [5_001, 5_002, 5_003], "an empty log starts at the microseconds since boot");
    drop(wal);

    let (wal, numbers) = open(&config, "boot-2");
    append(&wal, &numbers, 100);
    assert_eq!(sequences(&wal), [5_001, 5_002, 5_003, 1], "another boot starts anew");
}

/// A copy of the files is what a process that is killed now leaves: what it has not handed to the kernel is gone.
#[test]
fn what_is_appended_outlives_a_kill_at_once() {
    let folder = TempDir::new().expect("a folder");
    let config = config(&folder, 1 << 20, WalFull::DropOldest);
    let (wal, numbers) = open(&config, BOOT);
    for appended in 1..=3 {
        append(&wal, &numbers, 100);
        let left = TempDir::new().expect("a folder");
        copy(&config.path, &left.path().join("wal"));
        let (left, numbers) = open(&WalConfig { path: left.path().join("wal"), ..config.clone() }, BOOT);
        assert_eq!(numbers.lock().wal_records, appended);
        append(&left, &numbers, 100);
        assert_eq!(sequences(&left), (5_000..=5_000 + appended).collect::<Vec<u64>>());
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("known").is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).expect("copied");
        }
    }
}

#[test]
fn a_full_log_drops_the_oldest_that_is_not_being_sent() {
    let folder = TempDir::new().expect("a folder");
    let (wal, numbers) = open(&config(&folder, 350, WalFull::DropOldest), BOOT);
    (0..3).for_each(|_| append(&wal, &numbers, 100));
    let sending = wal.next().expect("reads").expect("three were appended");
    append(&wal, &numbers, 100);
    assert_eq!(numbers.lock().ledger.dropped_as(Loss::WalFull), 2);
    assert_eq!(sequences(&wal), [5_002, 5_003], "5001 went");
    wal.forget(&[sending.leaving(Outcome::Acknowledged)]).expect("the one being sent is still there");
    append(&wal, &numbers, 200);
    assert_eq!(numbers.lock().ledger.dropped_as(Loss::WalFull), 4, "all are being sent: the new one goes");
    assert_eq!(numbers.lock().ledger.gap(), 0);
}

#[test]
fn a_full_log_that_may_not_drop_waits_for_room() {
    let folder = TempDir::new().expect("a folder");
    let (wal, numbers) = open(&config(&folder, 150, WalFull::Block), BOOT);
    append(&wal, &numbers, 100);
    std::thread::scope(|scope| {
        numbers.lock().ledger.see(crate::ledger::Origin::Status, 1);
        let waiting =
            scope.spawn(|| wal.append(Stream::Status, 1, 0, || false, |_, into| into.resize(into.len() + 100, 0)));
        let stored = wal.next().expect("reads").expect("one was appended");
        wal.forget(&[stored.leaving(Outcome::Acknowledged)]).expect("forgets");
        waiting.join().expect("no panic").expect("appends once there is room");
    });
    append(&wal, &numbers, 100);
    assert_eq!(numbers.lock().ledger.dropped_as(Loss::Shutdown), 2, "told to give up");
    let seen = numbers.lock().clone();
    assert_eq!((seen.wal_records, seen.ledger.gap()), (1, 0));
}

#[test]
fn a_log_has_one_owner() {
    let folder = TempDir::new().expect("a folder");
    let config = config(&folder, 1 << 20, WalFull::DropOldest);
    let _owner = open(&config, BOOT);
    let second = Wal::open(&config, BOOT, 0, SharedNumbers::default());
    assert!(matches!(second, Err(WalError::InUse { .. })));
}

/// The active journal of the log.
fn journal(config: &WalConfig) -> PathBuf {
    let files = std::fs::read_dir(&config.path).expect("a folder").map(|entry| entry.expect("an entry").path());
    files.filter(|path| path.extension().is_some_and(|e| e == "jnl")).max().expect("a journal")
}

/// Ends of the written part of a journal, which is preallocated with zeros.
fn written_bytes(journal: &Path) -> usize {
    let bytes = std::fs::read(journal).expect("reads");
    bytes.iter().rposition(|byte| *byte != 0).expect("something was written") + 1
}

/// A write that ended anywhere, as by a kill or for want of power: cut at each byte of the last batch, and for each with what the
/// journal was preallocated with behind it.
#[test]
fn wherever_the_last_batch_is_torn_all_before_it_is_there() {
    let folder = TempDir::new().expect("a folder");
    let config = config(&folder, 1 << 20, WalFull::DropOldest);
    let (wal, numbers) = open(&config, BOOT);
    let begun = journal(&config);
    (0..2).for_each(|_| append(&wal, &numbers, 100));
    let before = written_bytes(&begun);
    append(&wal, &numbers, 100);
    drop(wal);
    let (whole, end) = (std::fs::read(&begun).expect("reads"), written_bytes(&begun));
    assert!((100..400).contains(&(end - before)), "{before} {end}");
    for cut in before..=end {
        for is_preallocated in [false, true] {
            let torn = TempDir::new().expect("a folder");
            let config = WalConfig { path: torn.path().join("wal"), ..config.clone() };
            copy(&folder.path().join("wal"), &config.path);
            let mut bytes = whole[..cut].to_vec();
            if is_preallocated {
                bytes.resize(end + 4_096, 0);
            }
            std::fs::write(journal(&config), bytes).expect("written");
            let (wal, numbers) = open(&config, BOOT);
            let told = numbers.lock().clone();
            let (batches, folders) = (told.wal_torn_batches, told.wal_set_aside_folders);
            let kept = if cut == end { vec![5_000, 5_001, 5_002] } else { vec![5_000, 5_001] };
            // Cut between two batches nothing is torn.
            let is_torn = u64::from(cut > before && cut < end);
            let words = format!("cut at {cut} of {before} to {end}, preallocated: {is_preallocated}");
            assert_eq!((folders, batches), (0, is_torn), "{words}");
            assert_eq!(told.ledger.recovered(), 2 * kept.len() as u64, "{words}");
            append(&wal, &numbers, 100);
            let next = sequences(&wal);
            assert_eq!(next[..kept.len()], kept, "{words}");
            assert!(next.len() == kept.len() + 1 && next.is_sorted(), "{words}: {next:?}");
            assert_eq!(numbers.lock().ledger.gap(), 0, "{words}");
        }
    }
}

#[test]
fn a_damaged_last_envelope_is_lost_alone_and_its_number_left_out() {
    let folder = TempDir::new().expect("a folder");
    let config = config(&folder, 1 << 20, WalFull::DropOldest);
    let (wal, numbers) = open(&config, BOOT);
    (0..3).for_each(|_| append(&wal, &numbers, 1_000));
    drop(wal);
    let journal = journal(&config);
    let mut bytes = std::fs::read(&journal).expect("reads");
    let end = written_bytes(&journal);
    // In the checksum.
    bytes[end - 8] ^= 1;
    std::fs::write(&journal, bytes).expect("writes");
    let (wal, numbers) = open(&config, BOOT);
    assert_eq!(numbers.lock().wal_set_aside_folders, 0);
    append(&wal, &numbers, 100);
    assert_eq!(sequences(&wal), [5_000, 5_001, 5_003], "5,002 may have been sent");
}

#[test]
fn a_damaged_log_is_set_aside_and_the_agent_goes_on_with_new_numbers() {
    let folder = TempDir::new().expect("a folder");
    let config = config(&folder, 1 << 20, WalFull::DropOldest);
    let (wal, numbers) = open(&config, BOOT);
    (0..3).for_each(|_| append(&wal, &numbers, 1_000));
    drop(wal);
    let journal = journal(&config);
    let mut bytes = std::fs::read(&journal).expect("reads");
    let end = written_bytes(&journal);
    bytes[end / 2..end / 2 + 8].fill(0x55);
    std::fs::write(&journal, bytes).expect("writes");

    let (wal, numbers) = open(&config, BOOT);
    assert_eq!(numbers.lock().wal_set_aside_folders, 1);
    append(&wal, &numbers, 100);
    assert_eq!(sequences(&wal), [5_000]);
    let names = std::fs::read_dir(folder.path()).expect("a folder").map(|e| e.expect("an entry").file_name());
    assert_eq!(names.filter(|name| name.to_string_lossy().contains("damaged")).count(), 1);
}

fn disk_bytes(folder: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let entries = std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    // Blocks in use, not lengths: journals are preallocated and sparse. A file may go while it is looked at.
    entries
        .map(|path| if path.is_dir() { disk_bytes(&path) } else { path.metadata().map_or(0, |m| m.blocks() * 512) })
        .sum()
}

/// A megabyte that does not compress.
fn noise(seed: u64) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as u8
    };
    (0..MIB).map(|_| next()).collect()
}

const MIB: u64 = 1 << 20;

#[test]
fn disk_use_follows_what_is_in_the_log_and_not_what_went_through_it() {
    let folder = TempDir::new().expect("a folder");
    let config = config(&folder, 32 * MIB, WalFull::DropOldest);
    let (wal, numbers) = open(&config, BOOT);
    for n in 0..400 {
        numbers.lock().ledger.see(crate::ledger::Origin::Connector, 1);
        wal.append(Stream::Process, 1, 0, || true, |_, into| into.extend(noise(n))).expect("appends");
        // The first half dropped when full, the second acknowledged at once.
        while n >= 200
            && let Some(stored) = wal.next().expect("reads")
        {
            wal.forget(&[stored.leaving(Outcome::Acknowledged)]).expect("forgets");
        }
    }
    // Tables are merged in the background, which may be behind for a while; it has to catch up by itself.
    let bound = 2 * config.bytes_max + 128 * MIB;
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while disk_bytes(&config.path) > bound {
        assert!(std::time::Instant::now() < deadline, "still {} MiB", disk_bytes(&config.path) / MIB);
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    assert_eq!(numbers.lock().ledger.gap(), 0);
}

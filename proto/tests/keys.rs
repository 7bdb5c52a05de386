//! Folders of public keys that change, and what a key's file says it is good for.

use std::fs;
use std::path::Path;

use amoskys_proto::v1::{DeadLetterReason, EnvelopeHeader};
use amoskys_proto::{EnvelopeView, KeyFolder, KeyRing, KeyRingError, KeysFound, Signer, Terms, VerifyError};
use prost::Message;
use tempfile::TempDir;

/// 2026-03-01T12:00:00Z.
const NOON_MS: i64 = 1_772_366_400_000;

fn signer() -> Signer {
    Signer::generate().expect("random bytes")
}

/// The public half's file, by `keygen`'s code.
fn publish(folder: &Path, name: &str, signer: &Signer, terms: &Terms) {
    let made = TempDir::new().expect("a temporary folder");
    let public = signer.write_files_of(&made.path().join("agent.key"), terms).expect("written");
    fs::copy(public, folder.join(name)).expect("copied");
}

fn append(folder: &Path, name: &str, line: &str) {
    let path = folder.join(name);
    let text = fs::read_to_string(&path).expect("is there") + line + "\n";
    fs::write(path, text).expect("written");
}

fn sealed(signer: &Signer, agent: &str, host: &str) -> Vec<u8> {
    let header = EnvelopeHeader { agent_id: agent.into(), host_id: host.into(), sequence: 1, ..Default::default() };
    signer.seal(header, vec![7; 50].into()).encode_to_vec()
}

fn judged(ring: &KeyRing, record: &[u8], log_time_ms: i64) -> Result<(), DeadLetterReason> {
    let view = EnvelopeView::parse(record).expect("an envelope");
    let alone = ring.verify_one(&view, log_time_ms);
    let together = ring.verify(&[(view.clone(), log_time_ms), (view, log_time_ms)]);
    assert_eq!(together, [alone.clone(), alone.clone()], "alone and in a batch");
    alone.map_err(|error| error.reason())
}

fn of(agents: &[&str], hosts: &[&str]) -> Terms {
    let ids = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect();
    Terms { agents: ids(agents), hosts: ids(hosts), revoked_from_ms: None }
}

#[test]
fn a_revoked_key_is_refused_from_its_log_time_on() {
    let folder = TempDir::new().expect("a temporary folder");
    let (timed, never, good) = (signer(), signer(), signer());
    for (name, key) in [("timed.pub", &timed), ("never.pub", &never), ("good.pem", &good)] {
        publish(folder.path(), name, key, &Terms::default());
    }
    append(folder.path(), "timed.pub", "revoked: 2026-03-01T12:00:00Z");
    append(folder.path(), "never.pub", "revoked:");
    let ring = KeyRing::load(folder.path()).expect("all are good");
    assert_eq!((ring.len(), ring.revoked()), (3, 2));
    let record = sealed(&timed, "a", "h");
    assert_eq!(judged(&ring, &record, NOON_MS - 1), Ok(()));
    assert_eq!(judged(&ring, &record, NOON_MS), Err(DeadLetterReason::RevokedKey));
    assert_eq!(judged(&ring, &sealed(&never, "a", "h"), 0), Err(DeadLetterReason::RevokedKey));
    assert_eq!(judged(&ring, &sealed(&good, "a", "h"), i64::MAX), Ok(()));
    // What is altered is told as that, whatever key it names.
    let mut altered = record;
    let last = altered.len() - 1;
    altered[last] ^= 1;
    assert_eq!(judged(&ring, &altered, NOON_MS), Err(DeadLetterReason::BadSignature));
    // The earliest counts, and each file of a key.
    append(folder.path(), "timed.pub", "revoked: 2026-03-01T11:00:00.5Z");
    publish(folder.path(), "again.pub", &good, &Terms::default());
    append(folder.path(), "again.pub", "revoked: 2026-03-01T12:00:00Z");
    let ring = KeyRing::load(folder.path()).expect("all are good");
    assert_eq!((ring.len(), ring.revoked()), (3, 3));
    let record = sealed(&timed, "a", "h");
    assert_eq!(judged(&ring, &record, NOON_MS - 3_599_501), Ok(()));
    assert_eq!(judged(&ring, &record, NOON_MS - 3_599_500), Err(DeadLetterReason::RevokedKey));
    assert_eq!(judged(&ring, &sealed(&good, "a", "h"), NOON_MS), Err(DeadLetterReason::RevokedKey));
}

#[test]
fn a_key_that_is_bound_is_good_for_its_agents_and_hosts_alone() {
    let folder = TempDir::new().expect("a temporary folder");
    let (key, free) = (signer(), signer());
    publish(folder.path(), "a.pub", &key, &of(&["web-1", "web-2"], &["h"]));
    publish(folder.path(), "free.pub", &free, &Terms::default());
    let ring = KeyRing::load(folder.path()).expect("all are good");
    for (agent, host, expected) in [
        ("web-1", "h", Ok(())),
        ("web-2", "h", Ok(())),
        ("db-1", "h", Err(DeadLetterReason::KeyOfAnother)),
        ("web-1", "db", Err(DeadLetterReason::KeyOfAnother)),
        ("", "h", Err(DeadLetterReason::KeyOfAnother)),
    ] {
        assert_eq!(judged(&ring, &sealed(&key, agent, host), 0), expected, "{agent} {host}");
        assert_eq!(judged(&ring, &sealed(&free, agent, host), 0), Ok(()), "{agent} {host}");
    }
    let record = sealed(&key, "db-1", "h");
    let refusal = ring.verify_one(&EnvelopeView::parse(&record).expect("an envelope"), 0).expect_err("refused");
    let expected = VerifyError::KeyOfAnother { key_id: key.key_id().into(), whose: "agent", id: "db-1".into() };
    assert_eq!(refusal, expected);
    assert!(refusal.to_string().contains("it is of agent \"db-1\""), "{refusal}");
    assert!(of(&["web 1"], &[]).fault().is_some() && of(&[], &["h\n"]).fault().is_some());
    assert_eq!(of(&["web-1"], &["h"]).fault(), None);
}

#[test]
fn a_line_that_says_nothing_known_is_refused_by_its_name() {
    let folder = TempDir::new().expect("a temporary folder");
    for (line, part) in [
        ("revokd: 2026-03-01T12:00:00Z", "`revoked: TIME`"),
        ("revoked", "`revoked: TIME`"),
        ("revoked: yesterday", "`revoked: yesterday` is no time"),
        ("agents:", "names nobody"),
        ("web-1", "`agents: ID"),
    ] {
        publish(folder.path(), "x.pub", &signer(), &Terms::default());
        append(folder.path(), "x.pub", line);
        let refusal = KeyRing::load(folder.path()).expect_err("refused").to_string();
        assert!(refusal.contains("x.pub") && refusal.contains(part), "{line}: {refusal}");
    }
    publish(folder.path(), "x.pub", &signer(), &Terms::default());
    append(folder.path(), "x.pub", &format!("# {}\nrevoked:", "x".repeat(16 << 10)));
    assert!(matches!(KeyRing::load(folder.path()), Err(KeyRingError::Format { .. })), "its end is not cut off");
    publish(folder.path(), "x.pub", &signer(), &Terms::default());
    append(folder.path(), "x.pub", "# a comment\n\n  revoked: 2026-03-01T12:00:00+01:00  ");
    assert_eq!(KeyRing::load(folder.path()).expect("good").revoked(), 1);
}

/// Looks until what changed is taken; a change is not taken at the first look.
fn changed(folder: &mut KeyFolder) -> KeysFound {
    let first = folder.look();
    assert!(first.ring.is_none() && first.failures.is_empty(), "it has to stand still first");
    folder.look()
}

#[test]
fn a_changed_folder_is_taken_and_a_broken_file_keeps_its_key() {
    let place = TempDir::new().expect("a temporary folder");
    let (one, two, three) = (signer(), signer(), signer());
    publish(place.path(), "one.pub", &one, &Terms::default());
    let (mut folder, ring) = KeyFolder::open(place.path()).expect("one key");
    let is_good = |ring: &KeyRing, key: &Signer| judged(ring, &sealed(key, "a", "h"), NOON_MS);
    assert_eq!(is_good(&ring, &two), Err(DeadLetterReason::UnknownKey));
    assert!(folder.look().ring.is_none() && folder.look().ring.is_none(), "nothing has changed");

    publish(place.path(), "two.pub", &two, &Terms::default());
    let found = changed(&mut folder);
    let ring = found.ring.expect("another key");
    assert!(found.failures.is_empty() && is_good(&ring, &one).is_ok() && is_good(&ring, &two).is_ok());

    // One file breaks, another is revoked, a third is new: only the broken one stays as it was.
    fs::write(place.path().join("one.pub"), "half a k").expect("written");
    append(place.path(), "two.pub", "revoked: 2026-03-01T12:00:00Z");
    publish(place.path(), "three.pub", &three, &Terms::default());
    fs::write(place.path().join("four.pub"), "no key").expect("written");
    let found = changed(&mut folder);
    let told: Vec<String> = found.failures.iter().map(ToString::to_string).collect();
    assert!(told.len() == 2 && told[0].contains("four.pub") && told[1].contains("one.pub"), "{told:?}");
    let ring = found.ring.expect("other keys");
    assert_eq!((is_good(&ring, &one), is_good(&ring, &three)), (Ok(()), Ok(())));
    assert_eq!(is_good(&ring, &two), Err(DeadLetterReason::RevokedKey));
    let after = folder.look();
    assert!(after.ring.is_none() && after.failures.is_empty(), "told once");

    // The folder cannot be read: told once, nothing changes; then it is back, with a key less.
    let aside = place.path().with_extension("aside");
    fs::rename(place.path(), &aside).expect("renamed");
    let found = folder.look();
    assert!(found.ring.is_none() && matches!(found.failures[..], [KeyRingError::Folder { .. }]), "{found:?}");
    assert!(folder.look().failures.is_empty());
    fs::rename(&aside, place.path()).expect("renamed back");
    fs::remove_file(place.path().join("three.pub")).expect("removed");
    let ring = changed(&mut folder).ring.expect("a key less");
    assert_eq!(is_good(&ring, &three), Err(DeadLetterReason::UnknownKey));
    assert_eq!(is_good(&ring, &one), Ok(()), "its file is still broken");
    // A start, which has no keys from before, refuses it.
    assert!(KeyFolder::open(place.path()).is_err());
}

#[test]
fn a_folder_that_never_stands_still_holds_up_no_revocation() {
    let place = TempDir::new().expect("a temporary folder");
    publish(place.path(), "one.pub", &signer(), &Terms::default());
    let (mut folder, _) = KeyFolder::open(place.path()).expect("one key");
    append(place.path(), "one.pub", "revoked:");
    let mut looks = 0;
    let ring = loop {
        looks += 1;
        publish(place.path(), &format!("{looks}.pub"), &signer(), &Terms::default());
        if let Some(ring) = folder.look().ring {
            break ring;
        }
    };
    assert_eq!((looks, ring.revoked(), ring.len()), (3, 1, 4));
}

#[test]
fn another_file_of_the_same_size_and_time_is_seen() {
    let place = TempDir::new().expect("a temporary folder");
    let (one, two) = (signer(), signer());
    publish(place.path(), "a.pub", &one, &Terms::default());
    let path = place.path().join("a.pub");
    let (mut folder, _) = KeyFolder::open(place.path()).expect("one key");
    let before = fs::metadata(&path).expect("is there");
    publish(place.path(), "new", &two, &Terms::default());
    let new = fs::File::options().write(true).open(place.path().join("new")).expect("opens");
    new.set_modified(before.modified().expect("a time")).expect("set");
    fs::rename(place.path().join("new"), &path).expect("renamed");
    let after = fs::metadata(&path).expect("is there");
    assert_eq!((after.len(), after.modified().ok()), (before.len(), before.modified().ok()));
    let ring = changed(&mut folder).ring.expect("another key");
    assert_eq!(judged(&ring, &sealed(&two, "a", "h"), 0), Ok(()));
    assert_eq!(judged(&ring, &sealed(&one, "a", "h"), 0), Err(DeadLetterReason::UnknownKey));
}

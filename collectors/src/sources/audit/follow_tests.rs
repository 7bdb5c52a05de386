//! A log that grows, is rotated and is cut off, as real files.

use super::*;
use proptest::prelude::*;
use std::{
    fs::{OpenOptions, rename, write},
    io::Write,
};
use tempfile::TempDir;

fn log() -> (TempDir, PathBuf) {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("audit.log");
    write(&path, "").expect("written");
    (folder, path)
}

fn append(path: &Path, text: &str) {
    let mut file = OpenOptions::new().append(true).create(true).open(path).expect("opened");
    file.write_all(text.as_bytes()).expect("written");
}

/// Until there is no more.
fn lines(follower: &mut Follower) -> Vec<String> {
    let mut lines = Vec::new();
    let mut take = |line: Line<'_>| {
        lines.push(match line {
            Line::Whole(line) => String::from_utf8_lossy(line).into_owned(),
            Line::TooLong(line) => format!("too long: {}", line.len()),
        });
    };
    while follower.read(&mut take).expect("read") > 0 {}
    lines
}

#[test]
fn lines_come_whole_from_the_end_or_the_beginning() {
    let (_folder, path) = log();
    write(&path, "a\nb\n").expect("written");
    let mut from_end = Follower::open(&path, LogStart::End).expect("opened");
    let mut from_beginning = Follower::open(&path, LogStart::Beginning).expect("opened");
    assert_eq!((lines(&mut from_end), lines(&mut from_beginning)), (vec![], vec!["a".to_owned(), "b".to_owned()]));
    append(&path, "c\nd");
    assert_eq!((lines(&mut from_end), lines(&mut from_beginning)), (vec!["c".to_owned()], vec!["c".to_owned()]));
    // One that was begun before it was read is not told by its rest.
    let mut within = Follower::open(&path, LogStart::End).expect("opened");
    append(&path, "dd\ne\n");
    assert_eq!(
        (lines(&mut from_end), lines(&mut within)),
        (vec!["ddd".to_owned(), "e".to_owned()], vec!["e".to_owned()])
    );
}

#[test]
fn rotated_files_are_read_to_their_end_and_in_their_order() {
    let (folder, path) = log();
    let rotated = |number: u32| folder.path().join(format!("audit.log.{number}"));
    let mut follower = Follower::open(&path, LogStart::End).expect("opened");
    append(&path, "1\n");
    assert_eq!(lines(&mut follower), ["1"]);
    rename(&path, rotated(1)).expect("renamed");
    assert_eq!(lines(&mut follower), Vec::<String>::new(), "there is no new one yet");
    write(&path, "").expect("written");
    // Who writes goes over late.
    append(&rotated(1), "2\n");
    assert_eq!(lines(&mut follower), ["2"]);
    append(&rotated(1), "3\nwithout an end");
    append(&path, "4\n");
    assert_eq!(lines(&mut follower), ["3", "without an end", "4"]);
    // Three times between two looks.
    for (number, text) in [(1, "5\n"), (2, "6\n"), (3, "7\n")] {
        append(&path, text);
        for number in (1..=number).rev() {
            rename(rotated(number), rotated(number + 1)).expect("renamed");
        }
        rename(&path, rotated(1)).expect("renamed");
    }
    append(&path, "8\n");
    assert_eq!(lines(&mut follower), ["5", "6", "7", "8"]);
}

#[test]
fn a_file_that_is_cut_off_begins_anew() {
    let (_folder, path) = log();
    let mut follower = Follower::open(&path, LogStart::End).expect("opened");
    append(&path, "1\n2\nhalf");
    assert_eq!(lines(&mut follower), ["1", "2"]);
    write(&path, "3\n").expect("written");
    assert_eq!(lines(&mut follower), ["half", "3"]);
}

#[test]
fn long_lines_are_told_once_and_no_file_is_refused() {
    let (folder, path) = log();
    let mut follower = Follower::open(&path, LogStart::End).expect("opened");
    let long = "x".repeat(3 * LINE_BYTES_MAX);
    append(&path, &format!("{}\n{long}", "y".repeat(LINE_BYTES_MAX)));
    let told = lines(&mut follower);
    assert_eq!((told.len(), told[0].len()), (2, LINE_BYTES_MAX));
    assert!(told[1].starts_with("too long: "), "{}", told[1]);
    append(&path, &format!("{long}\n1\n"));
    assert_eq!(lines(&mut follower), ["1"]);
    assert!(Follower::open(folder.path(), LogStart::End).is_err_and(|error| error.to_string().contains("no file")));
    assert!(Follower::open(&folder.path().join("none"), LogStart::End).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// Whatever is written at a time, and wherever it is rotated: each line comes out once, in order.
    #[test]
    fn each_line_comes_out_once(pieces in prop::collection::vec(("[a-z\n]{0,12}", 0u8..6), 0..30)) {
        let (folder, path) = log();
        let mut follower = Follower::open(&path, LogStart::Beginning).expect("opened");
        let (mut written, mut told, mut rotations) = (String::new(), Vec::new(), 0);
        for (text, what) in &pieces {
            append(&path, text);
            written.push_str(text);
            match what {
                // At the end of a line, as auditd does.
                0 => {
                    append(&path, "\n");
                    written.push('\n');
                    rotations += 1;
                    for number in (1..rotations).rev() {
                        let name = |number| folder.path().join(format!("audit.log.{number}"));
                        rename(name(number), name(number + 1)).expect("renamed");
                    }
                    rename(&path, folder.path().join("audit.log.1")).expect("renamed");
                }
                1 | 2 => told.extend(lines(&mut follower)),
                _ => {}
            }
        }
        append(&path, "end\n");
        written.push_str("end\n");
        told.extend(lines(&mut follower));
        prop_assert_eq!(told, written.lines().map(str::to_owned).collect::<Vec<_>>());
    }
}

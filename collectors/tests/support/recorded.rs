//! Recorded attacks of the OTRF's Security Datasets (MIT licence), as they lie beside the repository: lines of auditd, and auoms' syslog.

use flate2::read::DeflateDecoder;
use std::{
    fs,
    io::{Read, Write},
    path::{Path, PathBuf},
};

const LOGS: [&str; 3] = [
    "atomic/linux/discovery/host/sh_arp_cache.zip",
    "atomic/linux/defense_evasion/host/sh_binary_padding_dd.zip",
    "log4shell/syslog_auoms_auditd_log4shell_cve2021_44228_jndi_reference.zip",
];

/// Lines of audit, each file's after the other's. `None` where the recordings are not, which is told.
pub fn lines() -> Option<Vec<String>> {
    let folder = Path::new("../../shared/data/linux-attacks");
    if !folder.is_dir() {
        // Not by eprintln!, which is shown of failed tests alone.
        let _ = writeln!(std::io::stderr(), "SKIPPED: there are no recorded attacks in {}", folder.display());
        return None;
    }
    Some(LOGS.iter().flat_map(|log| lines_of(&folder.join(log))).collect())
}

fn lines_of(zip: &PathBuf) -> Vec<String> {
    let text = only_entry(&fs::read(zip).expect("it is there"));
    let line = |line: &str| match serde_json::from_str::<serde_json::Value>(line) {
        Ok(syslog) => syslog["SyslogMessage"].as_str().expect("syslog's message").to_owned(),
        Err(_) => line.to_owned(),
    };
    text.lines().map(line).collect()
}

/// Text of the first file in a zip file: behind a header of 30 bytes, a name and extra fields.
fn only_entry(zip: &[u8]) -> String {
    let number = |at: usize| usize::from(u16::from_le_bytes(zip[at..at + 2].try_into().expect("two bytes")));
    assert_eq!((&zip[..4], number(8)), (&b"PK\x03\x04"[..], 8), "a deflated file");
    let mut text = String::new();
    DeflateDecoder::new(&zip[30 + number(26) + number(28)..]).read_to_string(&mut text).expect("text");
    text
}

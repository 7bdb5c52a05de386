//! A line of audit → a record: its type, the event that it belongs to, and its fields.
//!
//! Read are lines as auditd writes them, `type=… msg=audit(SEC.MS:SERIAL): k=v …`, also behind `node=…` or what syslog puts before; as the
//! kernel prints them, `audit: type=1300 audit(…): …`; and messages of netlink, which have their type beside the text. What follows the
//! byte 0x1d is auditd's own reading of the same fields (`log_format = ENRICHED`) and is left out.
//! Deliberately not here: which records make an event (see `assembler`), what fields mean (see `event`).
//! Limits: `node=` is not looked at: all records are taken as this host's. A line that ends within a number cannot be told from a whole one;
//! so records whose last field is known are refused without it.

use std::num::ParseIntError;

/// An event: its records share the time and the serial number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Id {
    /// Milliseconds since 1970.
    pub time_ms: i64,
    pub serial: u64,
}

/// What a record is to an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// SYSCALL: the call, who made it, its first four arguments, its result.
    Syscall,
    /// EXECVE: arguments of a program that was started.
    Execve,
    /// PATH: one of the files that the call came upon.
    Path,
    /// SOCKADDR.
    Address,
    /// MMAP: the descriptor and the flags.
    Mmap,
    /// CWD: where the caller works.
    Directory,
    /// Others that the kernel adds to a call.
    Detail,
    /// PROCTITLE: the last that is written of a call.
    Title,
    /// EOE: the event is over.
    End,
    /// A whole event in one record, as auoms writes it.
    Whole,
    /// Any other: logins, rules, denials …
    Other,
}

/// One record; borrowed from its line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    pub kind: Kind,
    pub id: Id,
    /// The fields.
    pub body: &'a str,
}

/// Between the record as the kernel made it and auditd's reading of it.
const ENRICHED: char = '\u{1d}';
/// Before the year 10000.
const SECONDS_MAX: i64 = 253_402_300_799;

impl<'a> Record<'a> {
    /// Of a line of text, with or without its end. `None`: it is no record, or is cut.
    pub fn parse(line: &'a str) -> Option<Self> {
        let (_, rest) = line.split_once("type=")?;
        let (kind, rest) = rest.split_once(' ')?;
        Self::of(Kind::of_name(kind)?, rest.strip_prefix("msg=").unwrap_or(rest))
    }

    /// Of a message of netlink: its type, and a text that begins with `audit(`.
    pub fn of_message(number: u16, text: &'a str) -> Option<Self> {
        Self::of(Kind::of_number(number), text)
    }

    fn of(kind: Kind, text: &'a str) -> Option<Self> {
        let (stamp, body) = text.strip_prefix("audit(")?.split_once("):")?;
        let body = body.split(ENRICHED).next().unwrap_or_default().trim();
        let record = Self { kind, id: Id::parse(stamp)?, body };
        record.is_whole().then_some(record)
    }

    /// Whether its last field is there, of those that have one.
    fn is_whole(&self) -> bool {
        let last = match self.kind {
            Kind::Syscall => "key",
            Kind::Path => "nametype",
            Kind::Whole => "containerid",
            _ => return true,
        };
        self.fields().any(|(name, _)| name == last)
    }

    /// Names and values in their order; of a name that is there twice the first is meant.
    pub fn fields(&self) -> Fields<'a> {
        Fields(self.body)
    }

    /// The value of one field, as it stands there.
    pub fn field(&self, name: &str) -> Option<&'a str> {
        self.fields().find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    pub fn number<T: std::str::FromStr<Err = ParseIntError>>(&self, name: &str) -> Option<T> {
        self.field(name)?.parse().ok()
    }

    pub fn text(&self, name: &str) -> Option<Vec<u8>> {
        text(self.field(name)?)
    }
}

impl Id {
    /// `SEC.MS:SERIAL`.
    fn parse(stamp: &str) -> Option<Self> {
        let (time, serial) = stamp.split_once(':')?;
        let (seconds, millis) = time.split_once('.')?;
        let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if !is_digits(seconds) || !is_digits(millis) || millis.len() != 3 || !is_digits(serial) {
            return None;
        }
        let seconds: i64 = seconds.parse().ok().filter(|seconds| *seconds <= SECONDS_MAX)?;
        Some(Self { time_ms: seconds * 1_000 + millis.parse::<i64>().ok()?, serial: serial.parse().ok()? })
    }
}

impl Kind {
    /// As auditd writes it: a name, `UNKNOWN[1334]`, or the number. `None`: it is none.
    fn of_name(name: &str) -> Option<Self> {
        let is_name = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || b"_-[]".contains(&byte);
        if name.is_empty() || !name.bytes().all(is_name) {
            return None;
        }
        let number = name.strip_prefix("UNKNOWN[").and_then(|rest| rest.strip_suffix(']')).unwrap_or(name);
        if let Ok(number) = number.parse() {
            return Some(Self::of_number(number));
        }
        Some(match name {
            "SYSCALL" => Self::Syscall,
            "EXECVE" => Self::Execve,
            "PATH" => Self::Path,
            "SOCKADDR" => Self::Address,
            "MMAP" => Self::Mmap,
            "CWD" => Self::Directory,
            "PROCTITLE" => Self::Title,
            "EOE" => Self::End,
            "AUOMS_EXECVE" | "AUOMS_SYSCALL" => Self::Whole,
            "IPC" | "SOCKETCALL" | "IPC_SET_PERM" | "MQ_OPEN" | "MQ_SENDRECV" | "MQ_NOTIFY" | "MQ_GETSETATTR"
            | "FD_PAIR" | "OBJ_PID" | "BPRM_FCAPS" | "CAPSET" | "OPENAT2" => Self::Detail,
            _ => Self::Other,
        })
    }

    /// As `linux/audit.h` has them.
    fn of_number(number: u16) -> Self {
        match number {
            1300 => Self::Syscall,
            1302 => Self::Path,
            1306 => Self::Address,
            1307 => Self::Directory,
            1309 => Self::Execve,
            1320 => Self::End,
            1323 => Self::Mmap,
            1327 => Self::Title,
            1303 | 1304 | 1311..=1315 | 1317 | 1318 | 1321 | 1322 | 1337 => Self::Detail,
            _ => Self::Other,
        }
    }
}

/// Walks over `k=v k="a b" …`. What is no field is passed over.
pub struct Fields<'a>(&'a str);

impl<'a> Iterator for Fields<'a> {
    type Item = (&'a str, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let rest = self.0.trim_start_matches(' ');
            let end = rest.find([' ', '=']).unwrap_or(rest.len());
            if rest.is_empty() {
                return None;
            }
            let name = &rest[..end];
            let Some(value) = rest[end..].strip_prefix('=') else {
                self.0 = &rest[end..];
                continue;
            };
            let bytes = match value.as_bytes().first() {
                // A quote that nothing ends is no value, and what follows is in it.
                Some(quote @ (b'"' | b'\'')) => value[1..].find(char::from(*quote)).map(|at| at + 2),
                _ => Some(value.find(' ').unwrap_or(value.len())),
            };
            let bytes = bytes.unwrap_or_else(|| {
                self.0 = "";
                0
            });
            if !self.0.is_empty() {
                self.0 = &value[bytes..];
            }
            return Some((name, &value[..bytes]));
        }
    }
}

/// A text that a process may have chosen: in quotes, or in hexadecimal where it holds what quotes would not. `None`: there is none.
pub fn text(value: &str) -> Option<Vec<u8>> {
    match value.strip_prefix('"') {
        Some(rest) => rest.strip_suffix('"').map(|text| text.as_bytes().to_vec()),
        None => hex(value),
    }
}

/// `None`: it is no hexadecimal number of whole bytes, as `(null)` is none.
pub fn hex(digits: &str) -> Option<Vec<u8>> {
    if digits.is_empty() || !digits.len().is_multiple_of(2) {
        return None;
    }
    let digit = |byte: u8| char::from(byte).to_digit(16);
    digits.as_bytes().chunks_exact(2).map(|pair| Some((digit(pair[0])? << 4 | digit(pair[1])?) as u8)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LINE: &str =
        "type=PATH msg=audit(1604994496.155:92733): item=0 name=\"/usr/sbin/arp\" inode=13181 nametype=NORMAL";

    #[test]
    fn a_record_is_read_in_each_of_its_forms() {
        let record = Record::parse(LINE).expect("a record");
        assert_eq!((record.kind, record.id), (Kind::Path, Id { time_ms: 1_604_994_496_155, serial: 92_733 }));
        assert_eq!(record.text("name").as_deref(), Some(&b"/usr/sbin/arp"[..]));
        let (_, stamped) = LINE.split_once("msg=").expect("it has one");
        for line in [
            format!("node=web-1 {LINE}\n"),
            format!("{LINE}\u{1d}OUID=\"root\" OGID=\"root\""),
            format!("Nov 10 07:48:16 web audispd: {LINE}"),
            format!("[   12.5] audit: type=1302 {stamped}"),
            format!("type=UNKNOWN[1302] msg={stamped}"),
        ] {
            assert_eq!(Record::parse(&line), Some(record), "{line}");
        }
        assert_eq!(Record::of_message(1302, &format!("{stamped}\0").replace('\0', "")), Some(record));
    }

    #[test]
    fn fields_are_plain_quoted_hexadecimal_or_absent() {
        let line = "type=USER_CMD msg=audit(1.002:3): a=1 b=\"x y\" nothing c=2F20 d=(null) e=(none) f= g='h=1 i=2' a=9 j=\"cut";
        let record = Record::parse(line).expect("a record");
        let fields: Vec<_> = record.fields().collect();
        let expected = [
            ("a", "1"),
            ("b", "\"x y\""),
            ("c", "2F20"),
            ("d", "(null)"),
            ("e", "(none)"),
            ("f", ""),
            ("g", "'h=1 i=2'"),
            ("a", "9"),
            ("j", ""),
        ];
        assert_eq!(fields, expected);
        assert_eq!((record.number::<u32>("a"), record.number::<u32>("b")), (Some(1), None));
        let texts = ["b", "c", "d", "e", "f", "j"].map(|name| record.text(name));
        assert_eq!(texts, [Some(b"x y".to_vec()), Some(b"/ ".to_vec()), None, None, None, None]);
    }

    #[test]
    fn what_is_no_record_is_refused() {
        for line in [
            "",
            "type=",
            "type=PATH",
            "type=PATH msg=audit(1604994496.155:92733)",
            "type=PATH msg=audit(1604994496.155:): name=1 nametype=NORMAL",
            "type=PATH msg=audit(1604994496.15:1): name=1 nametype=NORMAL",
            "type=PATH msg=audit(-1.155:1): name=1 nametype=NORMAL",
            "type=PATH msg=audit(99999999999999999999.155:1): nametype=NORMAL",
            "type=PATH msg=audit(253402300800.000:1): nametype=NORMAL",
            "type=PATH msg=audit(1.155:99999999999999999999): nametype=NORMAL",
            "type=p\u{fc}th msg=audit(1.155:1): nametype=NORMAL",
            "type=PATH msg=audit(1.155:1): item=0 name=\"/x\"",
            "type=SYSCALL msg=audit(1.155:1): arch=c000003e syscall=59",
            "Nov 10 07:48:16 web sshd[1]: hello",
        ] {
            assert_eq!(Record::parse(line), None, "{line}");
        }
    }

    #[test]
    fn every_cut_of_a_record_is_refused_or_says_less() {
        let whole = Record::parse(LINE).expect("a record");
        for end in 0..LINE.len() {
            if let Some(record) = Record::parse(&LINE[..end]) {
                assert_eq!((record.kind, record.id), (whole.kind, whole.id));
                assert!(record.fields().zip(whole.fields()).all(|(cut, whole)| cut.0 == whole.0), "{}", &LINE[..end]);
            }
        }
    }

    proptest! {
        #[test]
        fn no_text_is_too_much(head in prop::option::of(Just("type=SYSCALL msg=audit(1.000:1): ")), tail in "[ -~\u{1d}ü=\"']{0,80}") {
            let line = format!("{}{tail}", head.unwrap_or_default());
            if let Some(record) = Record::parse(&line) {
                prop_assert!(record.fields().count() <= line.len());
                for (_, value) in record.fields() { text(value); }
            }
        }

        #[test]
        fn hexadecimal_is_undone(bytes in prop::collection::vec(any::<u8>(), 1..40)) {
            let digits: String = bytes.iter().map(|byte| format!("{byte:02X}")).collect();
            prop_assert_eq!(hex(&digits), Some(bytes));
        }
    }
}

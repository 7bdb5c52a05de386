//! The records of one event, folded into what is read of them as they come.
//!
//! Deliberately not here: which records belong together and when an event is over (see `assembler`), what the call's arguments mean (see
//! `call`). Limits: [`PATHS_MAX`] paths of at most [`STRING_BYTES_MAX`] bytes, arguments as `argv` has them; the rest is left out.

use super::{
    argv::Argv,
    auoms,
    record::{Id, Kind, Record},
};
use amoskys_ebpf::STRING_BYTES_MAX;

/// A call comes upon a handful of files; renaming over another upon five.
const PATHS_MAX: usize = 8;
/// Of a `sockaddr_storage`.
const ADDRESS_BYTES_MAX: usize = 128;
/// The kernel's names of threads have 15.
const COMM_BYTES_MAX: usize = 15;

/// What came of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    pub id: Id,
    pub call: Option<Call>,
    pub paths: Vec<PathRecord>,
    pub argv: Argv,
    /// A `sockaddr`.
    pub address: Option<Vec<u8>>,
    /// Where the caller works. `None`: the kernel did not say, or not whole.
    pub directory: Option<Vec<u8>>,
    /// Descriptor and flags of mmap.
    pub mmap: Option<(i32, u64)>,
    /// Whether there is a record that is no part of a call.
    pub has_other: bool,
}

/// The SYSCALL record.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Call {
    /// AUDIT_ARCH_… of `linux/audit.h`.
    pub arch: u32,
    pub number: u32,
    /// `None`: the kernel did not say.
    pub result: Option<i64>,
    pub arguments: [u64; 4],
    pub pid: u32,
    pub parent_pid: u32,
    pub uid: u32,
    pub gid: u32,
    pub euid: u32,
    pub egid: u32,
    pub comm: Vec<u8>,
}

/// A PATH record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathRecord {
    pub item: u32,
    pub is: Role,
    /// As it was given. `None`: the call gave none, or it cannot be read.
    pub name: Option<Vec<u8>>,
}

/// What a file is to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The folder of one that is made or removed; its name is the beginning of the path that was given.
    Parent,
    Create,
    Delete,
    /// Any other, also one that is not there.
    Normal,
}

/// The record has not the form that its type has.
#[derive(Debug, PartialEq, Eq)]
pub struct Malformed;

impl Event {
    pub fn new(id: Id) -> Self {
        let argv = Argv::default();
        Self { id, call: None, paths: Vec::new(), argv, address: None, directory: None, mmap: None, has_other: false }
    }

    /// Of things that are in a call once the first is kept.
    ///
    /// # Errors
    /// The event stays as it was.
    pub fn add(&mut self, record: &Record<'_>) -> Result<(), Malformed> {
        match record.kind {
            Kind::Syscall => {
                let call = Call::of(record).ok_or(Malformed)?;
                self.call.get_or_insert(call);
            }
            Kind::Path => {
                let path = PathRecord::of(record).ok_or(Malformed)?;
                self.add_path(path);
            }
            Kind::Execve => self.argv.add(record),
            Kind::Address => {
                let mut address = record.text("saddr").ok_or(Malformed)?;
                address.truncate(ADDRESS_BYTES_MAX);
                self.address.get_or_insert(address);
            }
            Kind::Directory => {
                let is_whole = |path: &Vec<u8>| path.starts_with(b"/") && path.len() < STRING_BYTES_MAX;
                self.directory = record.text("cwd").filter(is_whole);
            }
            Kind::Mmap => {
                let flags = record.field("flags").and_then(|flags| number_of(flags.trim_start_matches("0x"), 16));
                self.mmap = Some((record.number("fd").ok_or(Malformed)?, flags.ok_or(Malformed)?));
            }
            Kind::Whole => auoms::read(record, self).ok_or(Malformed)?,
            Kind::Other => self.has_other = true,
            Kind::Detail | Kind::Title | Kind::End => {}
        }
        Ok(())
    }

    pub fn add_path(&mut self, path: PathRecord) {
        if self.paths.len() < PATHS_MAX {
            self.paths.push(path);
        }
    }
}

impl Call {
    fn of(record: &Record<'_>) -> Option<Self> {
        let arch = u32::try_from(number_of(record.field("arch")?, 16)?).ok()?;
        Self::of_machine(record, arch, record.number("syscall")?)
    }

    /// All but the machine and the number, which others write in another form.
    pub fn of_machine(record: &Record<'_>, arch: u32, number: u32) -> Option<Self> {
        let argument = |name| number_of(record.field(name)?, 16);
        // Where it failed the kernel's number is below 0; calls that return an address have large ones.
        let result = record.number::<i64>("exit").filter(|result| match record.field("success") {
            Some("yes") => *result >= 0 || *result < -4_095,
            Some("no") => *result < 0,
            _ => false,
        });
        let mut comm = record.text("comm").unwrap_or_default();
        comm.truncate(COMM_BYTES_MAX);
        Some(Self {
            arch,
            number,
            result,
            arguments: [argument("a0")?, argument("a1")?, argument("a2")?, argument("a3")?],
            pid: record.number("pid")?,
            parent_pid: record.number("ppid")?,
            uid: record.number("uid")?,
            gid: record.number("gid")?,
            euid: record.number("euid")?,
            egid: record.number("egid")?,
            comm,
        })
    }
}

fn number_of(digits: &str, radix: u32) -> Option<u64> {
    u64::from_str_radix(digits, radix).ok()
}

impl PathRecord {
    fn of(record: &Record<'_>) -> Option<Self> {
        let is = Role::of(record.field("nametype")?)?;
        Some(Self::new(record.number("item")?, is, record.text("name")))
    }

    pub fn new(item: u32, is: Role, name: Option<Vec<u8>>) -> Self {
        let name = name.map(|mut name| {
            name.truncate(STRING_BYTES_MAX);
            name
        });
        Self { item, is, name }
    }
}

impl Role {
    /// `None`: the kernel has no such word.
    pub fn of(nametype: &str) -> Option<Self> {
        Some(match nametype {
            "PARENT" => Self::Parent,
            "CREATE" => Self::Create,
            "DELETE" => Self::Delete,
            "NORMAL" | "UNKNOWN" => Self::Normal,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALL: &str = "arch=c000003e syscall=59 success=yes exit=0 a0=558e251634a0 a1=1 a2=2 a3=8 items=2 ppid=29002 pid=1631 \
                        auid=1000 uid=1000 gid=1001 euid=0 suid=0 fsuid=0 egid=1 sgid=1 fsgid=1 tty=pts0 ses=104 comm=\"arp\" \
                        exe=\"/usr/sbin/arp\" key=(null)";

    fn added(kind: &str, body: &str) -> Result<Event, Malformed> {
        let line = format!("type={kind} msg=audit(1.000:1): {body}");
        let record = Record::parse(&line).expect("a record");
        let mut event = Event::new(record.id);
        event.add(&record).map(|()| event)
    }

    #[test]
    fn a_call_is_read_with_its_result() {
        let call = added("SYSCALL", CALL).expect("whole").call.expect("a call");
        let ids = [call.pid, call.parent_pid, call.uid, call.gid, call.euid, call.egid];
        assert_eq!(
            (call.arch, call.number, call.result, ids),
            (0xc000_003e, 59, Some(0), [1631, 29002, 1000, 1001, 0, 1])
        );
        assert_eq!((call.arguments, call.comm.as_slice()), ([0x558e_2516_34a0, 1, 2, 8], &b"arp"[..]));
        let result = |success: &str| {
            let body = CALL.replace("success=yes exit=0", success);
            added("SYSCALL", &body).expect("whole").call.expect("a call").result
        };
        let told = ["success=no exit=-13", "success=yes exit=3", "success=yes exit=-140000000000000"].map(result);
        assert_eq!(told, [Some(-13), Some(3), Some(-140_000_000_000_000)]);
        let untold =
            ["", "success=no", "exit=3", "success=no exit=-EACCES", "success=yes exit=-13", "success=no exit=1"];
        assert_eq!(untold.map(result), [None; 6]);
    }

    #[test]
    fn a_call_without_what_every_call_has_is_malformed() {
        for name in ["arch", "syscall", "a0", "a3", "pid", "ppid", "uid", "gid", "euid", "egid"] {
            let body = format!(" {CALL}").replace(&format!(" {name}="), &format!(" {name}=x"));
            assert_eq!(added("SYSCALL", &body), Err(Malformed), "{name}");
        }
        let known = added("SYSCALL", &CALL.replace("\"arp\"", "61207270")).expect("whole").call.expect("a call");
        assert_eq!(known.comm, b"a rp");
    }

    #[test]
    fn other_records_are_read_or_malformed() {
        let path = |body: &str| added("PATH", body).map(|event| event.paths);
        let name = |item, is, name: Option<&[u8]>| PathRecord { item, is, name: name.map(<[u8]>::to_vec) };
        assert_eq!(path("item=1 name=2F20 nametype=CREATE"), Ok(vec![name(1, Role::Create, Some(b"/ "))]));
        assert_eq!(path("item=0 name=(null) inode=1 nametype=NORMAL"), Ok(vec![name(0, Role::Normal, None)]));
        assert_eq!(path("item=0 name=\"/x\" nametype=CREAT"), Err(Malformed));
        assert_eq!(path("name=\"/x\" nametype=CREATE"), Err(Malformed));
        assert_eq!(added("SOCKADDR", "saddr=0200").map(|event| event.address), Ok(Some(vec![2, 0])));
        assert_eq!(added("SOCKADDR", "saddr=020"), Err(Malformed));
        assert_eq!(added("MMAP", "fd=3 flags=0x22").map(|event| event.mmap), Ok(Some((3, 0x22))));
        assert_eq!(added("MMAP", "fd=3 flags=0x"), Err(Malformed));
        assert_eq!(added("USER_AUTH", "pid=1").map(|event| event.has_other), Ok(true));
        let directory = |body: &str| added("CWD", body).map(|event| (event.directory, event.has_other));
        assert_eq!(directory("cwd=\"/etc\""), Ok((Some(b"/etc".to_vec()), false)));
        assert_eq!(directory("cwd=2F6120"), Ok((Some(b"/a ".to_vec()), false)));
        assert_eq!(directory("cwd=(null)"), Ok((None, false)));
    }

    #[test]
    fn paths_are_bounded() {
        let mut event = Event::new(Id { time_ms: 0, serial: 1 });
        let line = format!("type=PATH msg=audit(0.000:1): item=0 name=\"{}\" nametype=NORMAL", "x".repeat(9_000));
        for _ in 0..100 {
            event.add(&Record::parse(&line).expect("a record")).expect("whole");
        }
        assert_eq!(event.paths.len(), PATHS_MAX);
        assert!(event.paths.iter().all(|path| path.name.as_ref().is_some_and(|name| name.len() == STRING_BYTES_MAX)));
    }
}

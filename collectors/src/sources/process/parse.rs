//! The text of `/proc` files → values. Pure; what does not have the kernel's form is `None` or empty, never a panic.

/// What `/proc/PID/stat` says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stat {
    pub comm: String,
    pub parent: u32,
    /// Id of the session; 0 if unknown.
    pub session: u32,
    /// Device number of the controlling terminal; 0 for none.
    pub tty: u32,
    pub kernel_thread: bool,
    /// Microseconds.
    pub user_us: u64,
    pub system_us: u64,
    pub threads: u32,
    /// Clock ticks since boot.
    pub start_ticks: u64,
    pub rss_pages: u64,
    /// Wait status; 0 unless the process is a zombie and the reader may trace it.
    pub exit_code: i32,
}

/// Real and effective user and group ids.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ids {
    pub uid: u32,
    pub euid: u32,
    pub gid: u32,
    pub egid: u32,
}

/// What the kernel shows where no login was set.
pub(super) const NO_LOGIN: u32 = u32::MAX;
/// PF_KTHREAD in linux/sched.h.
const KERNEL_THREAD_FLAG: u64 = 0x0020_0000;
/// Linux shows a hundred clock ticks per second on all machines that the agent is for, whatever the kernel itself counts in.
const TICK_US: u64 = 10_000;
/// Length of a container id: a SHA-256 in hex.
const CONTAINER_ID_BYTES: usize = 64;

/// `/proc/PID/stat`. The name is in parentheses and may itself hold any byte, parentheses and spaces too.
pub fn stat(text: &[u8]) -> Option<Stat> {
    let open = text.iter().position(|byte| *byte == b'(')?;
    let close = text.iter().rposition(|byte| *byte == b')')?;
    let comm = String::from_utf8_lossy(text.get(open + 1..close)?).into_owned();
    let rest = std::str::from_utf8(text.get(close + 1..)?).ok()?;
    // The manual counts fields from 1; the first one after the name is 3.
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
    let signed = |field: usize| fields.get(field - 3)?.parse::<i64>().ok();
    Some(Stat {
        comm,
        parent: u32::try_from(number(4)?).ok()?,
        // Both may be below 0: a session that is gone, a device whose number has its highest bit.
        session: signed(6).and_then(|session| u32::try_from(session).ok()).unwrap_or(0),
        tty: signed(7).unwrap_or(0) as i32 as u32,
        kernel_thread: number(9)? & KERNEL_THREAD_FLAG != 0,
        user_us: number(14)?.saturating_mul(TICK_US),
        system_us: number(15)?.saturating_mul(TICK_US),
        threads: u32::try_from(number(20)?).ok()?,
        start_ticks: number(22)?,
        rss_pages: number(24)?,
        exit_code: fields.get(52 - 3).and_then(|field| field.parse().ok()).unwrap_or(0),
    })
}

/// The ids in `/proc/PID/status`.
pub fn ids(text: &[u8]) -> Option<Ids> {
    let pair = |name: &[u8]| -> Option<(u32, u32)> {
        let line = text.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(name))?;
        let mut numbers = std::str::from_utf8(line).ok()?.split_ascii_whitespace().map(str::parse);
        Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
    };
    let ((uid, euid), (gid, egid)) = (pair(b"Uid:")?, pair(b"Gid:")?);
    Some(Ids { uid, euid, gid, egid })
}

/// `/proc/PID/loginuid`; `None` when nobody logged in.
pub fn login_uid(text: &[u8]) -> Option<u32> {
    let uid = std::str::from_utf8(text).ok()?.trim().parse().ok()?;
    (uid != NO_LOGIN).then_some(uid)
}

/// `/proc/PID/cgroup`: the path in the unified hierarchy, and the container id in any of the hierarchies.
pub fn cgroup(text: &[u8]) -> (String, String) {
    let text = String::from_utf8_lossy(text);
    let unified = text.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or_default();
    (unified.to_owned(), container_id(&text).unwrap_or_default().to_owned())
}

/// The last run of exactly 64 hex digits, as in `/docker/ID`, `docker-ID.scope`, `cri-containerd-ID.scope`.
fn container_id(text: &str) -> Option<&str> {
    text.rsplit(|c: char| !c.is_ascii_alphanumeric())
        .find(|run| run.len() == CONTAINER_ID_BYTES && run.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// The filesystem type of device `major:minor` in `/proc/self/mountinfo`.
pub fn mount_type(mountinfo: &[u8], major: u32, minor: u32) -> Option<String> {
    let device = format!("{major}:{minor}");
    mountinfo.split(|byte| *byte == b'\n').find_map(|line| {
        let line = String::from_utf8_lossy(line);
        let (before, after) = line.split_once(" - ")?;
        let is_it = before.split(' ').nth(2) == Some(device.as_str());
        is_it.then(|| after.split(' ').next().map(str::to_owned)).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_name_may_hold_anything() {
        let text =
            b"42 (a) (b c)) S 7 42 42 0 -1 4194304 1 2 3 4 50 60 7 8 20 0 9 0 1234 1000 77 18446744073709551615 0 0";
        let stat = stat(text).expect("a whole line");
        assert_eq!((stat.comm.as_str(), stat.parent, stat.kernel_thread), ("a) (b c)", 7, false));
        assert_eq!((stat.user_us, stat.system_us, stat.threads), (500_000, 600_000, 9));
        assert_eq!((stat.start_ticks, stat.rss_pages), (1234, 77));
    }

    #[test]
    fn ids_are_real_then_effective() {
        let text = b"Name:\tx\nUid:\t1000\t0\t0\t0\nGid:\t100\t5\t5\t5\nThreads:\t1\n";
        assert_eq!(ids(text), Some(Ids { uid: 1000, euid: 0, gid: 100, egid: 5 }));
        assert_eq!(ids(b"Uid:\t1\t"), None);
    }

    #[test]
    fn sessions_and_terminals_may_be_below_zero() {
        let stat = |session, tty| {
            let text =
                format!("42 (a) S 7 42 {session} {tty} -1 4194304 1 2 3 4 50 60 7 8 20 0 9 0 1234 1000 77 1 0 0");
            stat(text.as_bytes()).map(|stat| (stat.session, stat.tty))
        };
        assert_eq!(stat(42, 34_819), Some((42, 34_819)));
        assert_eq!(stat(-1, -1), Some((0, u32::MAX)));
    }

    #[test]
    fn a_login_is_a_number_unless_it_was_never_set() {
        assert_eq!((login_uid(b"1000"), login_uid(b"0\n")), (Some(1000), Some(0)));
        assert_eq!((login_uid(b"4294967295"), login_uid(b""), login_uid(b"-1")), (None, None, None));
    }

    #[test]
    fn containers_are_found_in_either_hierarchy() {
        let id = "0123456789abcdef".repeat(4);
        let unified = format!("0::/system.slice/docker-{id}.scope\n");
        assert_eq!(cgroup(unified.as_bytes()), (format!("/system.slice/docker-{id}.scope"), id.clone()));
        let hybrid = format!("8:pids:/docker/{id}\n0::/\n");
        assert_eq!(cgroup(hybrid.as_bytes()), ("/".into(), id));
        assert_eq!(cgroup(b"0::/user.slice\n"), ("/user.slice".into(), String::new()));
    }

    #[test]
    fn mounts_are_found_by_device() {
        let table = b"25 24 0:23 / /dev/shm rw - tmpfs tmpfs rw\n27 1 254:0 / / rw shared:1 - ext4 /dev/vda rw\n";
        assert_eq!(mount_type(table, 254, 0).as_deref(), Some("ext4"));
        assert_eq!(mount_type(table, 0, 23).as_deref(), Some("tmpfs"));
        assert_eq!(mount_type(table, 9, 9), None);
    }

    proptest! {
        #[test]
        fn any_bytes_do_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = (stat(&bytes), ids(&bytes), cgroup(&bytes), mount_type(&bytes, 1, 2), login_uid(&bytes));
        }
    }
}

//! Where a process came from: its ancestors' executables, nearest first, and the login that it belongs to.
//!
//! Pure. Taken from the parent at fork and never looked up again, so that neither a parent that ended nor a reused id
//! changes it. Limits: `ancestors_max` names; of a process that was there before the agent, what `/proc` still shows
//! (an ancestor that had ended by then is not known, and its children count as those of whoever adopted them).

use super::{parse::Stat, program::Program};
use std::sync::Arc;

/// Names of ancestors. Clones share the names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lineage(Vec<Arc<str>>);

impl Lineage {
    /// Of a child.
    pub fn of_child(parent: &Program, parents: &Self, ancestors_max: usize) -> Self {
        let names = std::iter::once(&parent.name).chain(&parents.0);
        Self(names.take(ancestors_max).cloned().collect())
    }

    pub fn names(&self) -> Vec<String> {
        self.0.iter().map(|name| name.to_string()).collect()
    }
}

/// The login and the terminal that a process belongs to; its children inherit them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Session {
    /// `None`: nobody logged in, or not known.
    pub login_uid: Option<u32>,
    pub id: u32,
    /// Device number of the terminal, 0 for none.
    pub tty: u32,
}

impl Session {
    /// As `stat` shows it, with the login that does not stand there.
    pub fn read(stat: &Stat, login_uid: Option<u32>) -> Self {
        Self { login_uid, id: stat.session, tty: stat.tty }
    }

    pub fn tty_name(&self) -> String {
        tty_name(self.tty)
    }
}

/// Name of a terminal by its device number (Documentation/admin-guide/devices.txt).
fn tty_name(device: u32) -> String {
    let major = device >> 8 & 0xfff;
    let minor = device & 0xff | device >> 12 & 0xf_ff00;
    match (major, minor) {
        (0, 0) => String::new(),
        (4, ..64) => format!("tty{minor}"),
        (4, _) => format!("ttyS{}", minor - 64),
        (5, 1) => "console".into(),
        (136..=143, _) => format!("pts/{}", (major - 136) * 256 + minor),
        (166, _) => format!("ttyACM{minor}"),
        (188, _) => format!("ttyUSB{minor}"),
        (229, _) => format!("hvc{minor}"),
        _ => format!("{major}:{minor}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminals_are_named_by_their_device() {
        for (major, minor, name) in [
            (0, 0, ""),
            (4, 1, "tty1"),
            (4, 64, "ttyS0"),
            (5, 1, "console"),
            (136, 3, "pts/3"),
            (136, 300, "pts/300"),
            (137, 1, "pts/257"),
            (229, 0, "hvc0"),
            (204, 64, "204:64"),
        ] {
            let device = minor & 0xff | major << 8 | (minor & !0xff) << 12;
            assert_eq!(tty_name(device), name, "{major}:{minor}");
        }
        assert_eq!(tty_name(u32::MAX), "4095:1048575");
    }

    #[test]
    fn a_lineage_is_bounded_and_nearest_first() {
        let program = |name: &str| Program { name: name.into(), ..Program::default() };
        let first = Lineage::of_child(&program("/a"), &Lineage::default(), 2);
        let second = Lineage::of_child(&program("/b"), &first, 2);
        let third = Lineage::of_child(&program("[c]"), &second, 2);
        assert_eq!((second.names(), third.names()), (vec!["/b".into(), "/a".into()], vec!["[c]".into(), "/b".into()]));
        assert_eq!(Lineage::of_child(&program("/b"), &first, 0), Lineage::default());
    }
}

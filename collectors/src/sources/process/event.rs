//! A process as known and as read → the message on the wire.

use super::{
    outbox::Reported,
    parse::Stat,
    procfs::Reading,
    tracker::{Known, Units},
};
use crate::clock::Moment;
use amoskys_proto::v1::{ProcessEvent, ProcessEventKind as Kind};

/// An event from what is known alone.
pub(super) fn of(kind: Kind, at: Moment, pid: u32, known: &Known, units: &Units) -> Reported {
    let (program, parent) = (&known.program, known.parent.as_deref());
    let lifetime_ns = known.started_boot_ns.map_or(0, |started| at.boot_ns.saturating_sub(started));
    let event = ProcessEvent {
        observed_at: Some(timestamp(at.wall_us)),
        kind: kind as i32,
        pid,
        parent_pid: known.parent_pid,
        process_key: known.key,
        started_at: known.started_boot_ns.map(|ns| timestamp(units.boot_wall_us + (ns / 1_000) as i64)),
        uid: program.ids.uid,
        euid: program.ids.euid,
        gid: program.ids.gid,
        egid: program.ids.egid,
        comm: program.comm.clone(),
        exe: program.exe.path.clone(),
        exe_deleted: program.exe.deleted,
        exe_fs_type: program.exe.fs_type.clone(),
        exe_setuid: program.exe.setuid,
        cwd: program.cwd.clone(),
        cmdline: program.cmdline.clone(),
        cgroup: program.cgroup.clone(),
        container_id: program.container_id.clone(),
        lifetime_us: if kind == Kind::Exit { lifetime_ns / 1_000 } else { 0 },
        parent_comm: parent.map(|parent| parent.comm.clone()).unwrap_or_default(),
        parent_exe: parent.map(|parent| parent.exe.path.clone()).unwrap_or_default(),
        parent_euid: parent.map(|parent| parent.ids.euid).unwrap_or_default(),
        ancestors: known.lineage.names(),
        login_uid: program.session.login_uid,
        session_id: program.session.id,
        tty: program.session.tty_name(),
        environment: program.environment.clone(),
        masked: program.masked.iter().map(|name| (*name).to_owned()).collect(),
        ..ProcessEvent::default()
    };
    Reported { event, file: program.file.clone() }
}

/// An event with what was read as well.
pub(super) fn of_reading(
    kind: Kind,
    at: Moment,
    pid: u32,
    known: &Known,
    reading: &Reading,
    units: &Units,
) -> Reported {
    let mut reported = of(kind, at, pid, known, units);
    let event = &mut reported.event;
    if let Some(stat) = &reading.stat {
        add_stat(event, stat, units);
    }
    event.open_files = reading.open_files;
    event.sockets = reading.sockets;
    event.unreadable = reading.unreadable.iter().map(|name| (*name).to_owned()).collect();
    reported
}

/// CPU time, memory and threads.
pub(super) fn add_stat(event: &mut ProcessEvent, stat: &Stat, units: &Units) {
    event.cpu_user_us = stat.user_us;
    event.cpu_system_us = stat.system_us;
    event.rss_bytes = stat.rss_pages.saturating_mul(units.page_bytes);
    event.threads = stat.threads;
}

/// Microseconds since 1970 on the wire.
pub fn timestamp(us: i64) -> prost_types::Timestamp {
    let nanos = (us.rem_euclid(1_000_000) * 1_000) as i32;
    prost_types::Timestamp { seconds: us.div_euclid(1_000_000), nanos }
}

/// And back.
pub fn micros(time: &prost_types::Timestamp) -> i64 {
    time.seconds * 1_000_000 + i64::from(time.nanos) / 1_000
}

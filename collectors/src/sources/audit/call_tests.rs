//! Events of audit as calls: each kind of field, and what audit does not tell.

use super::{super::record::Record, *};

fn event(records: &[&str]) -> Event {
    let mut event = None;
    for line in records {
        let (kind, body) = line.split_once(' ').expect("both");
        let line = format!("type={kind} msg=audit(5.250:7): {body}");
        let record = Record::parse(&line).expect("a record");
        event.get_or_insert_with(|| Event::new(record.id)).add(&record).expect("whole");
    }
    event.expect("a record")
}

fn syscall(number: u32, result: &str, arguments: &str) -> String {
    format!(
        "SYSCALL arch=c000003e syscall={number} {result} {arguments} items=1 ppid=2 pid=3 uid=4 gid=5 euid=6 egid=7 comm=\"x\" key=(null)"
    )
}

fn told(records: &[&str]) -> SyscallEvent {
    match meaning(&event(records)) {
        Meaning::Call(_, told) => *told,
        other => panic!("{other:?}"),
    }
}

const YES: &str = "success=yes exit=0";

#[test]
fn a_call_says_who_when_and_what_came_of_it() {
    let call = syscall(90, "success=no exit=-1", "a0=7f00 a1=89c0 a2=0 a3=0");
    let told = told(&[&call, "PATH item=0 name=\"etc/passwd\" nametype=NORMAL"]);
    assert_eq!((told.pid, told.parent_pid, told.uid, told.gid, told.euid, told.egid), (3, 2, 4, 5, 6, 7));
    assert_eq!(told.observed_at, Some(timestamp(5_250_000)));
    assert_eq!(
        (told.result, told.error.as_str(), told.path.as_str(), told.mode),
        (-1, "EPERM", "etc/passwd", Some(0o4700))
    );
    assert_eq!((told.tid, told.process_key, told.cgroup_id, told.duration_ns), (0, 0, 0, 0));
    assert_eq!((told.arguments.as_slice(), told.unreadable.len(), told.cut.len()), (&[0x7f00, 0x89c0, 0, 0][..], 0, 0));
}

#[test]
fn paths_are_told_apart_by_what_they_are_to_the_call() {
    let parent = |item: u32, name: &str| format!("PATH item={item} name=\"{name}\" nametype=PARENT");
    let path = |item: u32, name: &str, is: &str| format!("PATH item={item} name=\"{name}\" nametype={is}");
    let of = |number: u32, paths: &[String]| {
        let call = syscall(number, YES, "a0=1 a1=2 a2=3 a3=4");
        let mut records = vec![call.as_str()];
        records.extend(paths.iter().map(String::as_str));
        let told = told(&records);
        (told.path, told.other_path, told.unreadable.join(" "), told.cut.join(" "))
    };
    let is = |path: &str, other: &str, unreadable: &str, cut: &str| {
        (path.to_owned(), other.to_owned(), unreadable.to_owned(), cut.to_owned())
    };
    // openat with O_CREAT; the order of records does not matter.
    assert_eq!(of(257, &[path(1, "/tmp/x", "CREATE"), parent(0, "/tmp/")]), is("/tmp/x", "", "", ""));
    assert_eq!(of(257, &[parent(0, "/tmp/")]), is("/tmp/", "", "", "path"));
    assert_eq!(of(257, &[]), is("", "", "path", ""));
    assert_eq!(of(87, &[parent(0, "/tmp/"), path(1, "/tmp/x", "DELETE")]), is("/tmp/x", "", "", ""));
    // rename, onto another as well.
    let renamed = [parent(0, "a/"), parent(1, "b/"), path(2, "a/x", "DELETE"), path(3, "b/y", "CREATE")];
    assert_eq!(of(82, &renamed), is("a/x", "b/y", "", ""));
    let over = [&renamed[..3], &[path(3, "b/y", "DELETE"), path(4, "b/y", "CREATE")]].concat();
    assert_eq!(of(82, &over), is("a/x", "b/y", "", ""));
    // Which was which is not known.
    assert_eq!(of(82, &renamed[..2]), is("", "", "path other_path", ""));
    assert_eq!(of(82, &[path(0, "b/y", "UNKNOWN"), path(1, "a/x", "UNKNOWN")]), is("", "", "path other_path", ""));
    // mount: where to, and what if it is a file.
    assert_eq!(of(165, &[path(0, "/mnt", "NORMAL")]), is("", "/mnt", "path", ""));
    assert_eq!(of(165, &[path(0, "/mnt", "NORMAL"), path(1, "/dev/vdb", "NORMAL")]), is("/dev/vdb", "/mnt", "", ""));
    // memfd_create: its name is no file's. renameat2: its flags are the fifth argument.
    assert_eq!(of(319, &[]), is("", "", "path", ""));
    assert_eq!(of(316, &renamed), is("a/x", "b/y", "flags", ""));
}

#[test]
fn a_programs_arguments_are_told_where_it_was_started() {
    let call = syscall(59, YES, "a0=1 a1=2 a2=3 a3=4");
    let path = "PATH item=0 name=\"/bin/sh\" nametype=NORMAL";
    let started = told(&[&call, "EXECVE argc=2 a0=\"sh\" a1=2D6320", path]);
    assert_eq!((started.path.as_str(), started.argv.join("|").as_str()), ("/bin/sh", "sh|-c "));
    assert!(started.unreadable.is_empty() && started.cut.is_empty());
    let missing = told(&[&call, "EXECVE argc=3 a0=\"sh\"", path]);
    assert_eq!((missing.argv.join("|").as_str(), missing.cut.join(" ").as_str()), ("sh", "argv"));
    let failed = told(&[&syscall(59, "success=no exit=-2", "a0=1 a1=2 a2=3 a3=4"), path]);
    assert_eq!((failed.argv.len(), failed.unreadable.join(" ").as_str(), failed.error.as_str()), (0, "argv", "ENOENT"));
    let unsaid = told(&[&syscall(59, "", "a0=1 a1=2 a2=3 a3=4"), path]);
    assert_eq!((unsaid.result, unsaid.unreadable.join(" ").as_str()), (0, "argv result"));
}

#[test]
fn addresses_and_memory_have_records_of_their_own() {
    let call = syscall(42, "success=no exit=-115", "a0=3 a1=7ffc a2=10 a3=0");
    let connected = told(&[&call, "SOCKADDR saddr=020001BBC0A802060000000000000000"]);
    let address = (connected.address.as_str(), connected.port, connected.address_family.as_str());
    assert_eq!(
        (connected.fd, address, connected.error.as_str()),
        (Some(3), ("192.168.2.6", 443, "inet"), "EINPROGRESS")
    );
    assert_eq!(told(&[&call]).unreadable, ["address"]);
    // sendto may go without one.
    assert_eq!(told(&[&syscall(44, "success=yes exit=5", "a0=3 a1=7ffc a2=5 a3=0")]).unreadable, Vec::<String>::new());

    let call = syscall(9, "success=yes exit=139637976727552", "a0=0 a1=1000 a2=5 a3=2");
    let mapped = told(&[&call, "MMAP fd=3 flags=0x2"]);
    let words = (mapped.protection.as_str(), mapped.flags.as_str(), mapped.size);
    assert_eq!((words, mapped.fd), (("PROT_READ|PROT_EXEC", "MAP_PRIVATE", Some(4096)), Some(3)));
    assert_eq!((told(&[&call]).fd, told(&[&call]).unreadable), (None, vec!["fd".to_owned()]));
}

#[test]
fn what_is_no_call_of_ours_says_why() {
    let call = syscall(59, YES, "a0=1 a1=2 a2=3 a3=4");
    let of = |call: String| meaning(&event(&[&call]));
    assert_eq!(of(call.replace("c000003e", "40000003")), Meaning::OfNoInterest(Filter::Compat));
    assert_eq!(of(call.replace("syscall=59", "syscall=1073741883")), Meaning::OfNoInterest(Filter::Compat));
    assert_eq!(of(call.replace("syscall=59", "syscall=0")), Meaning::OfNoInterest(Filter::NotWanted));
    assert_eq!(meaning(&event(&["USER_AUTH pid=1"])), Meaning::OfNoInterest(Filter::NotSyscall));
    assert_eq!(meaning(&event(&["AVC pid=1", "PROCTITLE proctitle=00"])), Meaning::OfNoInterest(Filter::NotSyscall));
    assert_eq!(meaning(&event(&["CWD cwd=\"/\"", "PROCTITLE proctitle=00"])), Meaning::Lost(Loss::Incomplete));
}

//! Events as auoms writes them, which Azure's agents for Linux did: all records of an event in one line, fields put into words.
//!
//! `type=AUOMS_EXECVE audit(…): … arch=x86_64 syscall=execve syscall_r=59 … path_name=["/bin/bash"] path_nametype=["NORMAL"] … argc=3
//! cmdline="bash -c "a b"" …`: the number of the call is in `syscall_r`, paths are lists, arguments are quoted as a shell would and quoted
//! again, without a sign before quotes within.
//! Limits: arguments are taken apart only if as many come out as `argc` says; of other machines than x86-64 it is not known how they are written.

use super::{
    event::{Call, Event, PathRecord, Role},
    record::Record,
};

const X86_64: u32 = 0xc000_003e;

/// `None`: it has not that form.
pub fn read(record: &Record<'_>, event: &mut Event) -> Option<()> {
    // Of another machine none is known; 0 is no machine's.
    let arch = if record.field("arch")? == "x86_64" { X86_64 } else { 0 };
    let call = Call::of_machine(record, arch, record.number("syscall_r")?)?;
    let roles = list(record.body, "path_nametype");
    let roles = roles.iter().map(|role| Role::of(role).unwrap_or(Role::Normal));
    let names = list(record.body, "path_name");
    for ((item, name), is) in (0..).zip(&names).zip(roles) {
        event.add_path(PathRecord::new(item, is, Some(name.as_bytes().to_vec()).filter(|name| !name.is_empty())));
    }
    if let Some(argc) = record.number::<usize>("argc") {
        let words = between(record.body, " cmdline=\"", "\" redactors=").and_then(words).unwrap_or_default();
        event.argv.set(argc, if words.len() == argc { words } else { Vec::new() });
    }
    event.call = Some(call);
    Some(())
}

fn between<'a>(text: &'a str, before: &str, behind: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(before)?;
    rest.rsplit_once(behind).map(|(text, _)| text)
}

/// `NAME=["a","b"]`; names with `","` in them are two.
fn list<'a>(body: &'a str, name: &str) -> Vec<&'a str> {
    let Some((_, rest)) = body.split_once(&format!(" {name}=[\"")) else { return Vec::new() };
    rest.split_once("\"]").map(|(items, _)| items.split("\",\"").collect()).unwrap_or_default()
}

/// As a shell splits a line. `None`: a quote is open at its end.
fn words(line: &str) -> Option<Vec<Vec<u8>>> {
    let (mut words, mut word): (Vec<Vec<u8>>, Option<Vec<u8>>) = (Vec::new(), None);
    let mut quote = None;
    let mut bytes = line.bytes();
    while let Some(byte) = bytes.next() {
        match (byte, quote) {
            (b' ', None) => words.extend(word.take()),
            (b'"' | b'\'', None) => {
                quote = Some(byte);
                word.get_or_insert_default();
            }
            (byte, Some(open)) if byte == open => quote = None,
            (b'\\', None | Some(b'"')) => word.get_or_insert_default().push(bytes.next()?),
            _ => word.get_or_insert_default().push(byte),
        }
    }
    words.extend(word);
    quote.is_none().then_some(words)
}

#[cfg(test)]
mod tests {
    use super::{super::record::Id, *};

    const WHO: &str =
        "success=yes exit=0 a0=1 a1=2 a2=3 a3=4 ppid=1340 pid=17790 uid=1001 gid=1001 euid=0 egid=0 comm=\"bash\"";

    fn event(body: &str) -> Option<Event> {
        let line = format!("type=AUOMS_EXECVE audit(1652292621.990:84143): {body} redactors= containerid=");
        let mut event = Event::new(Id { time_ms: 0, serial: 0 });
        read(&Record::parse(&line).expect("a record"), &mut event).map(|()| event)
    }

    #[test]
    fn an_event_in_one_line_is_read_whole() {
        let paths = "path_name=[\"/bin/bash\",\"/lib64/ld.so\"] path_nametype=[\"NORMAL\",\"CREATE\"]";
        let argv = "argc=3 cmdline=\"bash -c \"{echo,YQo=}|{bash,-i}\"\"";
        let event = event(&format!("arch=x86_64 syscall=execve syscall_r=59 {WHO} {paths} {argv}")).expect("whole");
        let call = event.call.expect("a call");
        assert_eq!((call.arch, call.number, call.result, call.euid), (X86_64, 59, Some(0), 0));
        let path = |item, is, name: &str| PathRecord::new(item, is, Some(name.as_bytes().to_vec()));
        assert_eq!(event.paths, [path(0, Role::Normal, "/bin/bash"), path(1, Role::Create, "/lib64/ld.so")]);
        assert_eq!(event.argv.join(), (b"bash\0-c\0{echo,YQo=}|{bash,-i}\0".to_vec(), true));
    }

    #[test]
    fn what_cannot_be_taken_apart_is_left_out() {
        let argv = |text: &str| event(&format!("arch=x86_64 syscall_r=59 {WHO} {text}")).expect("whole").argv;
        assert_eq!(argv("argc=2 cmdline=\"bash a b\"").join(), (vec![], false));
        assert_eq!(argv("argc=2 cmdline=\"bash \"a\"").join(), (vec![], false));
        assert_eq!(argv("argc=2").join(), (vec![], false));
        assert_eq!(argv("cmdline=\"bash a\""), Default::default());
        assert_eq!(event(&format!("arch=x86_64 syscall=execve {WHO}")), None);
        assert_eq!(
            event(&format!("arch=arm syscall_r=11 {WHO}")).and_then(|event| event.call).map(|call| call.arch),
            Some(0)
        );
    }

    #[test]
    fn words_are_a_shells() {
        let of = |line: &str| {
            let words = words(line)?;
            Some(words.iter().map(|word| String::from_utf8_lossy(word).into_owned()).collect::<Vec<_>>().join("|"))
        };
        assert_eq!(of("a 'b c' \"d 'e\\\"\" f\\ g '' h'i'j").as_deref(), Some("a|b c|d 'e\"|f g||hij"));
        assert_eq!((of("a 'b"), of("a \\"), of("").as_deref()), (None, None, Some("")));
    }
}

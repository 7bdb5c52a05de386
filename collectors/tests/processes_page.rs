//! `docs/processes.md`, with the table of patterns that are masked; `AMOSKYS_WRITE_PAGES=1` writes it.

use amoskys_collectors::{
    AgentConfig,
    masks::{MASK, USUAL},
    sources::process::environment::{NAMES_MAX, VALUE_BYTES_MAX},
};

const PAGE: &str = "../docs/processes.md";

/// As one would type it.
fn typed(arguments: &[&str]) -> String {
    let quoted =
        |argument: &&str| if argument.contains(' ') { format!("'{argument}'") } else { (*argument).to_owned() };
    arguments.iter().map(quoted).collect::<Vec<_>>().join(" ")
}

/// In a table's cell, as code.
fn code(text: &str) -> String {
    let escaped = text.replace('|', "\\|");
    if text.contains('`') { format!("`` {escaped} ``") } else { format!("`{escaped}`") }
}

fn page() -> String {
    let config = AgentConfig::new("", "", "").process;
    let mib = config.files.sha256_file_bytes_max >> 20;
    let mut page = format!(
        "# Processes

<!-- Rendered by collectors/tests/processes_page.rs. Do not edit: AMOSKYS_WRITE_PAGES=1 cargo test -p amoskys-collectors the_page_of_processes -->

What `amoskys.v1.ProcessEvent` tells of a process beyond its name, where that comes from, and what is not told. The fields
are explained in `proto/amoskys/v1/process.proto`; the keys are in [configuration](configuration.md), `[process]`; why it is so is in
[ADR 30](adr/0030-what-a-process-is.md).

- **Identity.** A process is `(host_id, boot_id, process_key)`. All three are columns in SQL. The key is the start time and
  the pid, so it is another one when the kernel gives a pid again. System calls have the same key.
- **Starts.** Starts, new programs and exits are the kernel's reports, not found by polling: by eBPF, with all there is to say of the
  process at that moment, or by the process connector, where the rest is read from `/proc` ([ADR 37](adr/0037-processes-by-ebpf.md)). A program that lives a
  millisecond has its FORK, EXEC and EXIT. What could not be read before it was gone is in `unreadable`.
- **Lineage.** `ancestors` are executables, nearest first, {ancestors} unless the agent is told otherwise; taken when the
  process is forked. `array_has(ancestors, '/usr/sbin/sshd')` asks whether something came from a login by SSH.
- **Login.** `login_uid` is who logged in, also after `su` or `sudo`; `tty` and `session_id` are the
  process's own.
- **Executable.** `exe_sha256` is of the file that runs, also when it is deleted, only in memory, or a container's. Files of
  more than {mib} MiB and those on network or FUSE file systems have none. Each file is hashed once, and again when its
  inode or its time of change is another. An event waits {wait} s for it at most, and those behind it with it.
- **Package.** `package` and `package_version` are what `dpkg -S` says of the path, if the path names that file on the host.
  `package = ''` finds programs that nobody installed. Whether a file is as its package delivered it is not looked at.
- **Container.** `container_id` comes from the control group.
- **Environment.** No variable is collected unless `environment` names it: at most {NAMES_MAX}, and {VALUE_BYTES_MAX} bytes of each.

## Secrets

What the groups of a pattern match is replaced by `{MASK}` in `cmdline`, in collected variables, and in `argv` of system calls;
`masked` then names the field. What was masked never leaves the agent, nor is it written to its disk. Patterns are regular
expressions over the arguments joined by single spaces, as `cmdline` shows them. A secret ends with its argument at the latest. It is the whole rest of its
argument, spaces included, where it follows an option or a program that the pattern names (`--password 'two words'`,
`mysql -p…`) and behind `--option=`. Within a longer argument, such as a script, it ends where the pattern ends, most at a space.

```toml
[process]
mask = [\"usual\", '--employee(?:=| )(\\d+)']
```

`usual` are the patterns below; without it in the list they are not used. A pattern that cannot be used is an error of the
configuration that names it. No list finds all secrets: a program that is given them in the environment or in a file shows
none.

| what | example | becomes |
|---|---|---|
",
        ancestors = config.ancestors_max,
        wait = config.files.wait.as_secs(),
    );
    for usual in USUAL {
        page.push_str(&format!(
            "| {} | {} | {} |\n",
            usual.what,
            code(&typed(usual.example)),
            code(&typed(usual.masked))
        ));
    }
    page.push_str("\nThe patterns:\n\n```text\n");
    USUAL.iter().for_each(|usual| page.push_str(&format!("{}\n", usual.pattern)));
    page.push_str("```\n");
    page
}

#[test]
fn the_page_of_processes_is_what_the_agent_does() {
    if std::env::var_os("AMOSKYS_WRITE_PAGES").is_some() {
        std::fs::write(PAGE, page()).expect("written");
    }
    assert_eq!(std::fs::read_to_string(PAGE).expect("the page"), page(), "AMOSKYS_WRITE_PAGES=1 writes it");
}

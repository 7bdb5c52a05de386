//! `amoskys config check` as people run it: what it prints and its exit code. What is judged how is tested in
//! `src/config/`.

use std::{
    path::PathBuf,
    process::{Command, Output},
};

struct Case {
    folder: tempfile::TempDir,
    command: Command,
}

impl Case {
    fn new(text: &str, arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("role.toml");
        std::fs::write(&path, text).expect("the file is written");
        let mut command = Command::new(env!("CARGO_BIN_EXE_amoskys"));
        command.args(["config", "check"]).arg(&path).args(arguments);
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy().into_owned();
            if name.starts_with("AMOSKYS_") || name.starts_with("IS_") {
                command.env_remove(name);
            }
        }
        Self { folder, command }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("role.toml")
    }

    fn run(&mut self) -> (String, i32) {
        let Output { status, stdout, .. } = self.command.output().expect("the binary runs");
        let code = status.code().expect("no signal");
        (String::from_utf8(stdout).expect("the output is text"), code)
    }
}

#[test]
fn every_problem_is_printed_at_once_and_the_exit_code_is_2() {
    let text = "[agent]\nmetrics_port = 70000\nmax_env_bytes = \"11 MiB\"\nretry_max = 21\nwal_paht = \"/w\"\n";
    let mut case = Case::new(text, &[]);
    let (output, code) = case.run();
    assert_eq!(code, 2, "{output}");
    for (line, part) in [(2, "1 to 65535"), (3, "1 byte to 10 MiB"), (4, "0 to 20"), (5, "wal_path")] {
        let place = format!("{}:{line}:", case.path().display());
        assert!(output.contains(&place) && output.contains(part), "line {line}: {output}");
    }
    assert!(output.contains("4 errors, 1 warning"), "the missing signing key warns: {output}");
}

#[test]
fn warnings_alone_exit_with_0() {
    let (output, code) = Case::new("[agent]\ncert_dir = \"/nowhere\"\n", &[]).run();
    assert_eq!(code, 0, "{output}");
    assert!(output.contains("/nowhere/agent.ed25519.pem") && output.contains("0 errors, 1 warning"), "{output}");
}

#[test]
fn json_is_one_array_of_the_same_problems() {
    let (output, code) = Case::new("[processor]\nverify = \"maybe\"\n", &["--format", "json"]).run();
    assert_eq!(code, 2);
    let problems: serde_json::Value = serde_json::from_str(&output).expect("valid JSON");
    assert_eq!(problems[0]["key"], "processor.verify");
    assert_eq!(problems[0]["line"], 2);
    assert_eq!(problems[0]["allowed"], "required, off");
}

#[test]
fn a_pattern_that_cannot_mask_is_named_where_it_stands() {
    let text = "[agent]\nsign = false\n[process]\nmask = [\"usual\", '--key=(\\S+']\nenvironment = [\"A=b\"]\n";
    let (output, code) = Case::new(text, &[]).run();
    assert_eq!(code, 2, "{output}");
    for part in ["role.toml:4:", "`--key=(\\S+`", "unclosed group", "role.toml:5:", "`A=b`", "2 errors, 0 warnings"] {
        assert!(output.contains(part), "{part}: {output}");
    }
}

#[test]
fn variables_are_judged_too_under_their_old_and_new_names() {
    let mut case = Case::new("[agent]\nsign = false\n", &[]);
    case.command.env("IS_RETRY_MAX", "21").env("AMOSKYS_AGENT_METRICS_PORT", "0");
    let (output, code) = case.run();
    assert_eq!(code, 2, "{output}");
    for part in ["IS_RETRY_MAX", "AMOSKYS_AGENT_RETRY_MAX", "AMOSKYS_AGENT_METRICS_PORT", "2 errors, 1 warning"] {
        assert!(output.contains(part), "{part}: {output}");
    }
}

#[test]
fn a_file_that_is_not_there_exits_with_2() {
    let mut case = Case::new("", &[]);
    std::fs::remove_file(case.path()).expect("removed");
    let (output, code) = case.run();
    assert_eq!(code, 2);
    assert!(output.contains("cannot be read"), "{output}");
}

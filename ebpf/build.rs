//! Compiles the programs for the kernel with clang; what comes out is part of the binary, and is fitted to the running kernel
//! when it is loaded.
//!
//! Limits: for the machine that it is built on or for, x86-64 and aarch64.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

/// In `bpf`, without their ending.
const SOURCES: [&str; 3] = ["syscalls", "activity", "processes"];
/// `CLANG` names another.
const COMPILERS: [&str; 2] = ["clang-14", "clang"];

fn main() {
    println!("cargo::rerun-if-changed=bpf");
    println!("cargo::rerun-if-env-changed=CLANG");
    let machine = match env::var("CARGO_CFG_TARGET_ARCH").as_deref() {
        Ok("aarch64") => "-D__TARGET_ARCH_arm64",
        Ok("x86_64") => "-D__TARGET_ARCH_x86",
        other => panic!("the kernel programs are written for x86_64 and aarch64, not for {other:?}"),
    };
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo says where"));
    for name in SOURCES {
        compile(&format!("bpf/{name}.bpf.c"), &out.join(format!("{name}.bpf.o")), machine);
    }
}

fn compile(source: &str, out: &Path, machine: &str) {
    let named = env::var("CLANG").ok();
    let compilers = named.as_deref().into_iter().chain(COMPILERS);
    for compiler in compilers {
        let mut command = Command::new(compiler);
        command.args([
            "-O2",
            "-g",
            "-target",
            "bpf",
            "-mcpu=v3",
            "-Wall",
            "-Werror",
            "-Wno-unused-variable",
            machine,
            "-c",
            source,
        ]);
        match command.arg("-o").arg(out).status() {
            Ok(status) if status.success() => return,
            Ok(status) => panic!("{compiler} does not compile {source}: {status}"),
            Err(_) => {}
        }
    }
    panic!("clang is missing, which compiles {source} for the kernel: make build installs it (clang-14)");
}

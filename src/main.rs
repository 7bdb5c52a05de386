//! `amoskys`: the one binary. Parses the command line and hands over; what a command does is in its module.
//!
//! Exit codes: 0 done, 1 failed, 2 wrong use or configuration (clap's own too).

// `println!` panics when nobody reads any more; `print::line` does not.
#![deny(clippy::print_stdout)]

mod cli;
mod clock;
mod config;
mod demo;
mod http;
mod print;
mod progress;
mod roles;
mod sql;
mod stop;
mod topics;

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    silence_onnxruntime();
    let cli = cli::Cli::parse();
    cli.log.start(cli.command.usual_log_level());
    let wants_json = cli.command.wants_json();
    match cli.command.run(cli.log) {
        Ok(code) => ExitCode::from(code),
        Err(error) if print::is_closed(&error) => ExitCode::from(cli::DONE),
        Err(error) => {
            if wants_json {
                eprintln!("{}", cli::error_object(&error));
            } else {
                eprintln!("amoskys: {error:#}");
            }
            ExitCode::from(cli::exit_code(&error))
        }
    }
}

/// ONNX Runtime reports its use over the network and keeps a file for that, unless this is set when it is loaded.
/// What runs on a host that is being watched talks to nobody but its log.
#[allow(unsafe_code)]
fn silence_onnxruntime() {
    // SAFETY: called first in `main`; no other thread exists that could read the environment meanwhile.
    unsafe { std::env::set_var("ORT_DISABLE_TELEMETRY", "1") };
}

//! Compiles the .proto files with protox (no protoc binary) into prost types and a descriptor set.
use std::{env, fs, path::PathBuf};

use prost::Message;

/// The contract, and the well-known types that people's own schemas in the same pool may refer to.
const FILES: [&str; 12] = [
    "amoskys/v1/envelope.proto",
    "amoskys/v1/process.proto",
    "amoskys/v1/syscall.proto",
    "amoskys/v1/activity.proto",
    "amoskys/v1/alert.proto",
    "amoskys/v1/features.proto",
    "amoskys/v1/provenance.proto",
    "amoskys/v1/deadletter.proto",
    "amoskys/v1/status.proto",
    "google/protobuf/timestamp.proto",
    "google/protobuf/duration.proto",
    "google/protobuf/wrappers.proto",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=amoskys");
    let descriptors = protox::compile(FILES, ["."])?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("descriptors.bin"), descriptors.encode_to_vec())?;
    // Payloads stay shared buffers, and maps have one order, so equal messages have equal bytes.
    prost_build::Config::new().bytes(["."]).btree_map(["."]).compile_fds(descriptors)?;
    Ok(())
}

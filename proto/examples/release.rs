//! Writes the contract as it is now to `proto/released/v1.bin`, which later changes are compared with: run it when a
//! version is released, never to make a failing comparison pass.

fn main() -> std::io::Result<()> {
    let package = std::env::var("CARGO_MANIFEST_DIR").unwrap_or_else(|_| "proto".to_owned());
    let path = format!("{package}/released/v1.bin");
    std::fs::write(&path, amoskys_proto::DESCRIPTOR_SET)?;
    println!("wrote {} bytes to {path}", amoskys_proto::DESCRIPTOR_SET.len());
    Ok(())
}

//! Holds the .proto files to the released contract (`released/v1.bin`) by the rules of `buf breaking` for wire and JSON
//! compatibility.
//!
//! After a release, `cargo run -p amoskys-proto --example release` writes the new contract.

mod rules;
mod rules_test;

use prost_reflect::DescriptorPool;

#[test]
fn the_contract_still_reads_what_was_released() {
    let released = include_bytes!("../../released/v1.bin");
    let released = DescriptorPool::decode(&released[..]).expect("released/v1.bin is a descriptor set");
    let current = amoskys_proto::pool().expect("the contract has descriptors");
    let broken = rules::broken(&released, &current, "amoskys.");
    assert!(broken.is_empty(), "the contract breaks readers or writers in the field:\n{}", broken.join("\n"));
}

#[test]
fn the_released_contract_is_not_empty() {
    let released = include_bytes!("../../released/v1.bin");
    let released = DescriptorPool::decode(&released[..]).expect("released/v1.bin is a descriptor set");
    assert!(released.get_message_by_name("amoskys.v1.Envelope").is_some());
}

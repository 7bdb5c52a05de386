//! System calls: which are decoded, what they are called, and the event that one becomes.
//!
//! [`table`] is the one table; [`decode`] makes the event of a call that the kernel's programs told (`amoskys-ebpf`), by it.
//! Deliberately not here: getting calls from the kernel.
//! Limits: what is not in the table is not decoded.

mod address;
mod decode;
mod names;
pub mod table;

pub use decode::{Clock, decode, rules};

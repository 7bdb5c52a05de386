//! `on_error 'stop'`: the processor ends at a record that does not decode, with what came before it committed, and ends there
//! again. On real NATS.

// Each test file uses a part of it.
#[allow(dead_code)]
mod common;

use amoskys_bus::{Outgoing, testing::NatsServer};
use common::{create, open, processor::Processor, produce, read_all};
use std::{fs, process::Stdio};

const SQL: &str = "
    CREATE EXTERNAL TABLE orders (host VARCHAR, size BIGINT) STORED AS JSON LOCATION 'orders' OPTIONS (on_error 'stop');
    CREATE EXTERNAL TABLE sizes (host VARCHAR, size BIGINT) STORED AS JSON LOCATION 'sizes' OPTIONS (partition_key 'host');
    INSERT INTO sizes SELECT host, size FROM orders;";

#[test]
fn what_came_before_the_record_is_there_once() {
    let server = NatsServer::start();
    let address = server.address().to_string();
    let bus = open(&address);
    for topic in ["orders", "sizes", "amoskys.deadletter.v1"] {
        create(bus.as_ref(), topic, 1);
    }
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("a.sql"), SQL).expect("writes");
    let row = |host: &str, size: &str| Outgoing {
        topic: "orders".into(),
        partition: Some(0),
        key: None,
        payload: format!(r#"{{"host":"{host}","size":{size}}}"#).into_bytes(),
        headers: Vec::new(),
    };
    produce(bus.as_ref(), [row("a", "1"), row("b", "2"), row("c", r#""three""#), row("d", "4")]);
    for _ in 0..2 {
        let processor = Processor::start(folder.path(), &address, "stopping", |command| {
            command.args(["--workers", "1"]).stdin(Stdio::null());
        });
        assert_eq!(processor.exit_code(), Some(1));
        let rows = read_all(bus.as_ref(), "sizes", 1).concat();
        let rows: Vec<&str> = rows.iter().map(|row| std::str::from_utf8(row).expect("UTF-8")).collect();
        assert_eq!(rows, [r#"{"host":"a","size":1}"#, r#"{"host":"b","size":2}"#]);
    }
    assert_eq!(read_all(bus.as_ref(), "amoskys.deadletter.v1", 1).concat(), [[0u8; 0]; 0]);
}

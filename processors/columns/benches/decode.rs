//! Nanoseconds to decode one event: 12 fields, 500 events in a record, batches of 8,000 rows, one core.
//!
//! `cargo bench --profile dev -p amoskys-columns --bench decode`, in the profile that everything is built with. Times
//! are of the CPU, not of the wall, so that a busy machine does not spoil them, and for a batch of 8,000; throughput is
//! in events. `prost` decodes the same records into structs, as a yardstick of the machine on the day. Linux only.

use std::time::Duration;

use amoskys_columns::{
    ArrowDecoder, AvroDecoder, AvroEncoder, AvroSchema, Constant, ConstantType, Constants, Decoder, JsonDecoder,
    JsonEncoder, Layout, Limits,
};
use arrow::{
    array::{RecordBatch, UInt64Array},
    compute::{cast, take_record_batch},
    datatypes::DataType,
    ipc::writer::StreamWriter,
};
use criterion::measurement::{Measurement, ValueFormatter, WallTime};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use prost::Message;
use prost_reflect::{DescriptorPool, MessageDescriptor};

/// Time that this thread has spent on a CPU.
struct CpuTime;

fn on_cpu() -> Duration {
    // The kernel brings the number up to date when it schedules.
    std::thread::yield_now();
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux with schedstat");
    let nanos = text.split(' ').next().and_then(|first| first.parse().ok());
    Duration::from_nanos(nanos.expect("schedstat begins with nanoseconds"))
}

impl Measurement for CpuTime {
    type Intermediate = Duration;
    type Value = Duration;

    fn start(&self) -> Duration {
        on_cpu()
    }

    fn end(&self, start: Duration) -> Duration {
        on_cpu() - start
    }

    fn add(&self, a: &Duration, b: &Duration) -> Duration {
        *a + *b
    }

    fn zero(&self) -> Duration {
        Duration::ZERO
    }

    fn to_f64(&self, value: &Duration) -> f64 {
        value.as_nanos() as f64
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        WallTime.formatter()
    }
}

const EVENTS: usize = 8_000;
const COLUMNS: [&str; 12] = [
    "host_id",
    "pid",
    "uid",
    "comm",
    "name",
    "ret",
    "duration_ns",
    "bytes",
    "dst_addr",
    "dst_port",
    "flags",
    "event_time",
];
const NAMES: [&str; 20] = [
    "read", "write", "openat", "close", "connect", "execve", "mmap", "mprotect", "ptrace", "clone", "fstat", "futex",
    "poll", "sendto", "recvfrom", "socket", "bind", "unlink", "rename", "setuid",
];

#[derive(Clone, PartialEq, Message)]
struct Event {
    #[prost(string, tag = "1")]
    host_id: String,
    #[prost(uint32, tag = "2")]
    pid: u32,
    #[prost(uint32, tag = "3")]
    uid: u32,
    #[prost(string, tag = "4")]
    comm: String,
    #[prost(string, tag = "5")]
    name: String,
    #[prost(int64, tag = "6")]
    ret: i64,
    #[prost(uint64, tag = "7")]
    duration_ns: u64,
    #[prost(uint64, tag = "8")]
    bytes: u64,
    #[prost(string, tag = "9")]
    dst_addr: String,
    #[prost(uint32, tag = "10")]
    dst_port: u32,
    #[prost(uint32, tag = "11")]
    flags: u32,
    #[prost(message, optional, tag = "12")]
    event_time: Option<Time>,
}

#[derive(Clone, PartialEq, Message)]
struct Time {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

#[derive(Clone, PartialEq, Message)]
struct Batch {
    #[prost(message, repeated, tag = "1")]
    events: Vec<Event>,
}

/// A generator of the same numbers on every machine.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 8
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
}

fn event(random: &mut Random, number: u64) -> Event {
    let address = random.below(1000);
    Event {
        host_id: format!("host-{:04}.prod.example.net", random.below(100)),
        pid: 100_000 + random.below(100) as u32 * 37,
        uid: 100_000 + random.below(50) as u32,
        comm: format!("batch-worker-{:03}", random.below(50)),
        name: NAMES[random.below(20) as usize].to_owned(),
        ret: if random.below(10) == 0 { -(random.below(40) as i64) } else { random.below(70_000) as i64 },
        duration_ns: 1 << random.below(24) | random.below(1000),
        bytes: random.below(1 << 16),
        dst_addr: format!("10.{}.{}.{}", 100 + address % 7, address % 251, address % 199),
        dst_port: random.below(65_536) as u32,
        flags: random.below(1 << 20) as u32,
        event_time: Some(Time {
            seconds: 1_790_000_000 + (number / 100_000) as i64,
            nanos: random.below(1_000_000_000) as i32,
        }),
    }
}

fn records(events_per_record: usize) -> Vec<Vec<u8>> {
    let mut random = Random(88_172_645_463_325_252);
    let events: Vec<Event> = (0..EVENTS as u64).map(|number| event(&mut random, number)).collect();
    events.chunks(events_per_record).map(|events| Batch { events: events.to_vec() }.encode_to_vec()).collect()
}

fn batch_type() -> MessageDescriptor {
    // Benchmarks run in their package's folder.
    let set = protox::compile(["benches/syscall.proto"], ["benches"]).expect("the schema compiles");
    let pool = DescriptorPool::from_file_descriptor_set(set).expect("the schema is complete");
    pool.get_message_by_name("bench.SyscallBatch").expect("the schema has the batch")
}

fn decoder(columns: &[&str]) -> Decoder {
    Decoder::new(Layout::batch(&batch_type(), columns).expect("a layout"), Limits::default())
}

fn decode(c: &mut Criterion<CpuTime>) {
    let mut group = c.benchmark_group("decode");
    group.throughput(Throughput::Elements(EVENTS as u64));
    let many = records(500);
    let bytes: usize = many.iter().map(Vec::len).sum();
    println!("{} bytes per event", bytes / EVENTS);

    for columns in [12, 6, 2] {
        let mut decoder = decoder(&COLUMNS[12 - columns..]);
        group.bench_function(BenchmarkId::new("columns", columns), |b| {
            b.iter(|| {
                many.iter().for_each(|record| assert_eq!(decoder.push(record).expect("a record"), 500));
                decoder.finish().expect("a batch")
            });
        });
    }

    let mut all = decoder(&COLUMNS);
    let mut constants = Constants::new([("agent_id", ConstantType::Text), ("_offset", ConstantType::Int64)]);
    group.bench_function("12 columns and 2 constants", |b| {
        b.iter(|| {
            for (offset, record) in many.iter().enumerate() {
                let rows = all.push(record).expect("a record");
                let values = [Constant::Text("agent-0017.example.net"), Constant::Int64(offset as i64)];
                constants.push(&values, rows).expect("the right types");
            }
            (all.finish().expect("a batch"), constants.finish())
        });
    });

    let single = records(1);
    group.bench_function("12 columns, one event per record", |b| {
        b.iter(|| {
            single.iter().for_each(|record| assert_eq!(all.push(record).expect("a record"), 1));
            all.finish().expect("a batch")
        });
    });

    group.bench_function("prost structs", |b| {
        b.iter(|| {
            let decoded = many.iter().map(|record| Batch::decode(&record[..]).expect("a record"));
            decoded.map(|batch| batch.events.len()).sum::<usize>()
        });
    });
    group.finish();
}

fn rows() -> RecordBatch {
    let mut decoder = decoder(&COLUMNS);
    records(500).iter().for_each(|record| assert_eq!(decoder.push(record).expect("a record"), 500));
    decoder.finish().expect("a batch")
}

fn arrow(c: &mut Criterion<CpuTime>) {
    let batch = rows();
    let fields = batch.schema();
    let plain = fields.fields().iter().zip(batch.columns()).map(|(field, array)| {
        let of = if *field.data_type() == DataType::Utf8View { &DataType::Utf8 } else { field.data_type() };
        (field.name().clone(), cast(array, of).expect("is text"))
    });
    let plain = RecordBatch::try_from_iter(plain).expect("columns");
    let mut group = c.benchmark_group("arrow");
    group.throughput(Throughput::Elements(EVENTS as u64));
    for rows_per_record in [500, 1] {
        let record = |from| {
            // A copy of the rows alone: a slice of texts as views is written with the bytes of all.
            let rows: UInt64Array = (from as u64..(from + rows_per_record) as u64).collect::<Vec<_>>().into();
            let part = take_record_batch(&plain, &rows).expect("rows");
            let mut writer = StreamWriter::try_new(Vec::new(), &part.schema()).expect("writes");
            writer.write(&part).expect("writes");
            writer.into_inner().expect("whole")
        };
        let records: Vec<Vec<u8>> = (0..EVENTS).step_by(rows_per_record).map(record).collect();
        let mut decoder = ArrowDecoder::new(batch.schema(), Limits::default());
        group.bench_function(BenchmarkId::new("rows per record", rows_per_record), |b| {
            b.iter(|| {
                let push = |record: &Vec<u8>| assert_eq!(decoder.push(record).expect("a record"), rows_per_record);
                records.iter().for_each(push);
                decoder.finish().expect("a batch")
            });
        });
    }
    group.finish();
}

fn avro(c: &mut Criterion<CpuTime>) {
    let batch = rows();
    let columns = batch.schema();
    let fields = columns.fields().iter().map(|field| {
        let of = match field.name().as_str() {
            "event_time" => r#"{"type": "long", "logicalType": "timestamp-micros"}"#,
            _ if field.data_type().is_numeric() => r#""long""#,
            _ => r#""string""#,
        };
        format!(r#"{{"name": "{}", "type": {of}}}"#, field.name())
    });
    let fields = fields.collect::<Vec<_>>().join(", ");
    let schema = format!(r#"{{"type": "record", "name": "Event", "fields": [{fields}]}}"#);
    let schema = AvroSchema::parse(&schema).expect("a schema");
    let records = AvroEncoder::new(&schema).encode(&batch).expect("encodes");
    let records: Vec<(u32, &[u8])> = records.iter().map(|record| (0, record.as_slice())).collect();
    let mut decoder = AvroDecoder::new(&schema, &COLUMNS, Limits::default());
    decoder.learn(0, schema.text()).expect("reads itself");
    let mut group = c.benchmark_group("avro");
    group.throughput(Throughput::Elements(EVENTS as u64));
    group.bench_function("decode", |b| {
        b.iter(|| {
            assert!(decoder.push_all(&records).iter().all(Result::is_ok));
            decoder.finish().expect("a batch")
        });
    });
    group.finish();
}

fn json(c: &mut Criterion<CpuTime>) {
    let batch = rows();
    let encoder = JsonEncoder::new(batch.schema()).expect("types that JSON has");
    let lines = encoder.encode(&batch).expect("rows");
    let lines: Vec<&[u8]> = lines.iter().map(Vec::as_slice).collect();
    let mut decoder = JsonDecoder::new(batch.schema(), Limits::default()).expect("types that JSON has");
    let mut group = c.benchmark_group("json");
    group.throughput(Throughput::Elements(EVENTS as u64));
    group.bench_function("decode", |b| {
        b.iter(|| {
            assert!(decoder.push_all(&lines).iter().all(Result::is_ok));
            decoder.finish().expect("a batch")
        });
    });
    group.bench_function("encode", |b| b.iter(|| encoder.encode(&batch).expect("rows")));
    group.finish();
}

criterion_group!(name = benches; config = Criterion::default().with_measurement(CpuTime); targets = decode, json, arrow, avro);
criterion_main!(benches);

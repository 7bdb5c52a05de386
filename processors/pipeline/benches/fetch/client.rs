//! Kafka's Fetch, version 4, over one plain connection: all partitions of a topic from their beginnings.
//!
//! The next request is on its way before the records of the last answer are handed over, so the broker works meanwhile.
//! Limits: `ANSWER_BYTES_MAX`; one broker that leads every partition.

use crate::batch::{Batches, Records};
use std::{
    io::{self, Read, Write},
    net::TcpStream,
};

const FETCH: i16 = 1;
const VERSION: i16 = 4;
const READ_COMMITTED: u8 = 1;
const WAIT_MS: i32 = 30;
const ANSWER_BYTES_MAX: i32 = 8 << 20;
const PARTITION_BYTES_MAX: i32 = 2 << 20;

pub struct Client {
    stream: TcpStream,
    topic: String,
    /// The next offset of each partition.
    next: Vec<i64>,
    requests: i32,
    answer: Vec<u8>,
    answer_bytes: usize,
    records: Records,
}

impl Client {
    pub fn connect(server: &str, topic: &str, partitions: usize) -> io::Result<Self> {
        let stream = TcpStream::connect(server)?;
        stream.set_nodelay(true)?;
        let (next, records) = (vec![0; partitions], Records::default());
        let (topic, answer) = (topic.to_owned(), Vec::new());
        let mut client = Self { stream, topic, next, requests: 0, answer, answer_bytes: 0, records };
        client.ask()?;
        Ok(client)
    }

    /// Hands over the records of one answer, and asks for the next.
    pub fn poll(&mut self, on_payload: &mut dyn FnMut(&[u8])) -> io::Result<()> {
        self.receive()?;
        let answer = std::mem::take(&mut self.answer);
        let parts = parts(&answer[..self.answer_bytes], &self.topic)?;
        let from = self.next.clone();
        for &(partition, bytes) in &parts {
            if let Some(past) = Batches::new(bytes).last().map(|batch| batch.past_offset()) {
                self.next[partition] = past;
            }
        }
        self.ask()?;
        for (partition, bytes) in parts {
            for batch in Batches::new(bytes) {
                self.records.each(&batch, from[partition], on_payload)?;
            }
        }
        self.answer = answer;
        Ok(())
    }

    fn ask(&mut self) -> io::Result<()> {
        self.requests += 1;
        let mut request = vec![0; 4];
        request.extend_from_slice(&FETCH.to_be_bytes());
        request.extend_from_slice(&VERSION.to_be_bytes());
        request.extend_from_slice(&self.requests.to_be_bytes());
        text(&mut request, "amoskys-fetch-spike");
        // No replica; the broker answers as soon as there is a byte.
        for number in [-1, WAIT_MS, 1, ANSWER_BYTES_MAX] {
            request.extend_from_slice(&i32::to_be_bytes(number));
        }
        request.push(READ_COMMITTED);
        request.extend_from_slice(&1i32.to_be_bytes());
        text(&mut request, &self.topic);
        request.extend_from_slice(&(self.next.len() as i32).to_be_bytes());
        for (partition, next) in self.next.iter().enumerate() {
            request.extend_from_slice(&(partition as i32).to_be_bytes());
            request.extend_from_slice(&next.to_be_bytes());
            request.extend_from_slice(&PARTITION_BYTES_MAX.to_be_bytes());
        }
        let bytes = (request.len() - 4) as u32;
        request[..4].copy_from_slice(&bytes.to_be_bytes());
        self.stream.write_all(&request)
    }

    fn receive(&mut self) -> io::Result<()> {
        let mut size = [0; 4];
        self.stream.read_exact(&mut size)?;
        let size = i32::from_be_bytes(size);
        // The first batch may be larger than what was asked for; anything more is no answer.
        if !(8..2 * ANSWER_BYTES_MAX).contains(&size) {
            return Err(broken("an answer of a strange size"));
        }
        self.answer_bytes = size as usize;
        if self.answer.len() < self.answer_bytes {
            self.answer.resize(self.answer_bytes, 0);
        }
        self.stream.read_exact(&mut self.answer[..self.answer_bytes])
    }
}

fn text(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(&(text.len() as i16).to_be_bytes());
    out.extend_from_slice(text.as_bytes());
}

/// The batches of each partition in an answer.
fn parts<'a>(answer: &'a [u8], topic: &str) -> io::Result<Vec<(usize, &'a [u8])>> {
    let mut left = Left(answer);
    // Number of the request, throttle time.
    left.take(8)?;
    let mut parts = Vec::new();
    for _ in 0..left.number()? {
        let length = left.short()? as usize;
        if left.take(length)? != topic.as_bytes() {
            return Err(broken("another topic"));
        }
        for _ in 0..left.number()? {
            let (partition, error) = (left.number()?, left.short()?);
            // Where the partition ends, and where its last open transaction begins.
            left.take(16)?;
            if error != 0 {
                return Err(io::Error::other(format!("partition {partition}: error {error}")));
            }
            if left.number()? > 0 {
                return Err(io::Error::other("aborted transactions, which the spike does not know"));
            }
            let bytes = left.number()?.max(0) as usize;
            parts.push((partition as usize, left.take(bytes)?));
        }
    }
    Ok(parts)
}

/// What is left of an answer.
struct Left<'a>(&'a [u8]);

impl<'a> Left<'a> {
    fn take(&mut self, bytes: usize) -> io::Result<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(bytes).ok_or_else(|| broken("an answer that ends too soon"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn number(&mut self) -> io::Result<i32> {
        let bytes = self.take(4)?.first_chunk().copied();
        Ok(i32::from_be_bytes(bytes.unwrap_or_default()))
    }

    fn short(&mut self) -> io::Result<i16> {
        let bytes = self.take(2)?.first_chunk().copied();
        Ok(i16::from_be_bytes(bytes.unwrap_or_default()))
    }
}

pub fn broken(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

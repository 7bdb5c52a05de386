//! One connection to one broker, and the thread that asks it for records.
//!
//! The next request is on its way before the last answer is handed over, so that the broker works meanwhile; its answer waits in the
//! socket. Answers are handed over as they come, neither checked nor unpacked: whoever wants the records does that, in its own
//! cache. A link that fails ends; whoever opened it finds out who leads its partitions now.
//! Deliberately not here: finding leaders, trying again, logins.
//! Limits: one answer in the socket, one in the thread's hands and one in the channel, each as large as [`Settings`] says; a broker
//! that does not answer within `ANSWER_WITHIN` has failed. Dropping a link does not wait for a thread that is just connecting.

use super::{
    batch,
    batch::Aborted,
    protocol::{self, Ask, Bounds, SIZE_BYTES},
};
use crate::kafka::context::lock;
use async_nats::rustls::{ClientConfig, ClientConnection, StreamOwned, pki_types::ServerName};
use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, Read, Write},
    net::{Shutdown, TcpStream, ToSocketAddrs},
    ops::Range,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Condvar, Mutex,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
    time::Duration,
};

const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// A broker that stands still is taken for gone then.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
const THROTTLE_MAX: Duration = Duration::from_secs(30);
/// Memory of answers that is kept to be used again.
const SPARES_MAX: usize = 4;
/// The first question's number; those of the others follow.
const VERSIONS_NUMBER: i32 = 0;

/// What all links of a reader have in common.
pub(crate) struct Settings {
    pub client_id: String,
    /// Of an answer, unless its first batch is larger.
    pub answer_bytes_max: usize,
    /// Of an answer with its first batch; a larger one is not read.
    pub first_batch_bytes_max: usize,
    pub partition_bytes_max: usize,
    pub wait: Duration,
    pub tls: Option<Arc<ClientConfig>>,
    /// As [`crate::ReaderOptions::with_headers`].
    pub with_headers: bool,
}

/// A partition that is to be read over a link.
#[derive(Debug, Clone)]
pub(super) struct Want {
    /// Of this reading of the partition, and no other.
    pub token: u64,
    pub topic: Arc<str>,
    pub partition: i32,
    pub from: i64,
}

/// What an answer has of one partition.
#[derive(Debug)]
pub(super) struct Part {
    pub token: u64,
    pub error: i16,
    pub high_watermark: i64,
    /// Up to where it may be read.
    pub end: i64,
    pub aborted: Vec<Aborted>,
    /// Of the answer's bytes.
    pub records: Range<usize>,
}

#[derive(Debug)]
pub(super) struct Answer {
    pub link: u64,
    pub bytes: Vec<u8>,
    pub parts: Vec<Part>,
}

pub(super) enum News {
    Answer(Answer),
    Ended { link: u64, why: Why },
}

/// Why a link is no more.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// Broken; may be opened again.
    Broken(String),
    /// This broker is not spoken with like this, now or later.
    Unfit(String),
}

/// Where a broker listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub host: String,
    pub port: u16,
}

pub(super) struct Link {
    pub number: u64,
    pub place: Place,
    shared: Arc<Shared>,
    spare: SyncSender<Vec<u8>>,
}

#[derive(Default)]
struct Shared {
    wants: Mutex<Wants>,
    changed: Condvar,
}

#[derive(Default)]
struct Wants {
    list: Arc<[Want]>,
    is_closed: bool,
    socket: Option<TcpStream>,
}

impl Link {
    pub(super) fn open(number: u64, place: Place, settings: Arc<Settings>, news: SyncSender<News>) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let (spare, spares) = sync_channel(SPARES_MAX);
        let asking = Asking {
            number,
            place: place.clone(),
            settings,
            shared: shared.clone(),
            spares,
            kept: Vec::new(),
            next: BTreeMap::new(),
            told: BTreeMap::new(),
            failed: BTreeSet::new(),
            first: 0,
            requests: VERSIONS_NUMBER,
            request: Vec::new(),
        };
        thread::Builder::new().name("kafka-fetch".to_owned()).spawn(move || {
            // Were it to end without a word, its partitions would stand still.
            let ended = catch_unwind(AssertUnwindSafe(|| asking.run(&news)))
                .unwrap_or_else(|_| Err(Why::Unfit("a fault of the program in the thread that reads".to_owned())));
            if let Err(why) = ended {
                // Nobody listens any more where this is not taken.
                let _ = news.send(News::Ended { link: number, why });
            }
        })?;
        Ok(Self { number, place, shared, spare })
    }

    /// Reads these from now on, each from where it was read to, and no others.
    pub(super) fn set(&self, wants: Vec<Want>) {
        lock(&self.shared.wants).list = wants.into();
        self.shared.changed.notify_all();
    }

    /// Gives the memory of an answer back.
    pub(super) fn give_back(&self, bytes: Vec<u8>) {
        // Enough are there, or the thread has ended.
        let _ = self.spare.try_send(bytes);
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        let mut wants = lock(&self.shared.wants);
        wants.is_closed = true;
        if let Some(socket) = &wants.socket {
            // It may be closed already.
            let _ = socket.shutdown(Shutdown::Both);
        }
        drop(wants);
        self.shared.changed.notify_all();
    }
}

/// The thread's side.
struct Asking {
    number: u64,
    place: Place,
    settings: Arc<Settings>,
    shared: Arc<Shared>,
    spares: Receiver<Vec<u8>>,
    /// Of an answer that had no news.
    kept: Vec<u8>,
    /// The next offset of each token.
    next: BTreeMap<u64, i64>,
    /// The end and the high watermark that were last told of each token, and whether it was read up to there.
    told: BTreeMap<u64, (i64, i64, bool)>,
    /// Tokens of which an error was told: they are not asked for any more.
    failed: BTreeSet<u64>,
    /// Which of the wants is served first; the one behind the last that gave something.
    first: usize,
    requests: i32,
    request: Vec<u8>,
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

/// A request under way.
struct Asked {
    /// What was wanted when it was made.
    wants: Arc<[Want]>,
    /// Who was asked for, and from where; none where all have failed, and then there is no request.
    of: Vec<(Want, i64)>,
}

impl Asking {
    /// `Ok` where it was closed.
    fn run(mut self, news: &SyncSender<News>) -> Result<(), Why> {
        let Some(mut stream) = self.unless_closed(|asking| asking.connect())? else { return Ok(()) };
        let Some(()) = self.unless_closed(|asking| asking.check_version(&mut stream))? else { return Ok(()) };
        let mut asked = None;
        loop {
            let pending = match asked.take() {
                Some(asked) => asked,
                None => match self.wait_for_wants() {
                    Some(wants) => {
                        let sent = self.unless_closed(|asking| asking.ask(&mut stream, &wants))?;
                        let Some(asked) = sent else { return Ok(()) };
                        asked
                    }
                    None => return Ok(()),
                },
            };
            if pending.of.is_empty() {
                // All have failed, until others are wanted.
                self.wait_for_change(&pending.wants, None);
                continue;
            }
            let read = self.unless_closed(|asking| asking.receive(&mut stream))?;
            let Some((bytes, size)) = read else { return Ok(()) };
            let (parts, throttle) = self.parts(&bytes[..size], &pending.of)?;
            if throttle > Duration::ZERO {
                self.wait_for_change(&pending.wants, Some(throttle.min(THROTTLE_MAX)));
            }
            let wants = lock(&self.shared.wants).list.clone();
            if !wants.is_empty() {
                let sent = self.unless_closed(|asking| asking.ask(&mut stream, &wants))?;
                let Some(sent) = sent else { return Ok(()) };
                asked = Some(sent);
            }
            if parts.is_empty() {
                self.kept = bytes;
            } else if news.send(News::Answer(Answer { link: self.number, bytes, parts })).is_err() {
                return Ok(());
            }
        }
    }

    /// What fails once the link is closed has not failed: `None`.
    fn unless_closed<T>(&mut self, what: impl FnOnce(&mut Self) -> Result<T, Why>) -> Result<Option<T>, Why> {
        let done = what(self);
        match done {
            _ if lock(&self.shared.wants).is_closed => Ok(None),
            done => done.map(Some),
        }
    }

    fn connect(&mut self) -> Result<Stream, Why> {
        let Place { host, port } = &self.place;
        let broken = |error: io::Error| Why::Broken(format!("connecting to {host}:{port}: {error}"));
        let mut failed = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        let bare = host.trim_matches(['[', ']']);
        let addresses = (bare, *port).to_socket_addrs().map_err(broken)?;
        let mut connected = None;
        for address in addresses {
            match TcpStream::connect_timeout(&address, CONNECT_WITHIN) {
                Ok(stream) => {
                    connected = Some(stream);
                    break;
                }
                Err(error) => failed = error,
            }
        }
        let Some(stream) = connected else { return Err(broken(failed)) };
        stream.set_nodelay(true).map_err(broken)?;
        stream.set_read_timeout(Some(ANSWER_WITHIN)).map_err(broken)?;
        stream.set_write_timeout(Some(ANSWER_WITHIN)).map_err(broken)?;
        lock(&self.shared.wants).socket = Some(stream.try_clone().map_err(broken)?);
        let Some(config) = &self.settings.tls else { return Ok(Stream::Plain(stream)) };
        let unfit = |error: &dyn std::fmt::Display| Why::Unfit(format!("TLS with {host}:{port}: {error}"));
        let name = ServerName::try_from(bare.to_owned()).map_err(|error| unfit(&error))?;
        let mut client = ClientConnection::new(config.clone(), name).map_err(|error| unfit(&error))?;
        let mut stream = stream;
        while client.is_handshaking() {
            client.complete_io(&mut stream).map_err(|error| match error.kind() {
                // What TLS has against it.
                io::ErrorKind::InvalidData => unfit(&error),
                _ => broken(error),
            })?;
        }
        Ok(Stream::Tls(Box::new(StreamOwned::new(client, stream))))
    }

    fn check_version(&mut self, stream: &mut Stream) -> Result<(), Why> {
        protocol::ask_versions(&mut self.request, VERSIONS_NUMBER, &self.settings.client_id);
        stream.write_all(&self.request).map_err(|error| self.broken("asking", &error))?;
        let (bytes, size) = self.receive(stream)?;
        match protocol::knows_fetch(&bytes[..size]) {
            Some(true) => Ok(()),
            Some(false) => Err(Why::Unfit("the broker does not know version 11 of Fetch".to_owned())),
            None => Err(self.no_answer()),
        }
    }

    fn broken(&self, doing: &str, error: &io::Error) -> Why {
        Why::Broken(format!("{doing} {}:{}: {error}", self.place.host, self.place.port))
    }

    fn no_answer(&self) -> Why {
        Why::Unfit(format!("{}:{} does not answer as a Kafka broker does", self.place.host, self.place.port))
    }

    /// Waits until there is something to read; `None` when the link is closed.
    fn wait_for_wants(&self) -> Option<Arc<[Want]>> {
        let mut wants = lock(&self.shared.wants);
        while wants.list.is_empty() && !wants.is_closed {
            wants = self.shared.changed.wait(wants).unwrap_or_else(std::sync::PoisonError::into_inner);
        }
        (!wants.is_closed).then(|| wants.list.clone())
    }

    /// Waits until something else is wanted, or for that long.
    fn wait_for_change(&self, before: &Arc<[Want]>, longest: Option<Duration>) {
        let wants = lock(&self.shared.wants);
        let is_same = |wants: &mut Wants| Arc::ptr_eq(&wants.list, before) && !wants.is_closed;
        match longest {
            Some(longest) => drop(self.shared.changed.wait_timeout_while(wants, longest, is_same)),
            None => drop(self.shared.changed.wait_while(wants, is_same)),
        }
    }

    /// Sends a request for all that is wanted and has not failed.
    fn ask(&mut self, stream: &mut Stream, wants: &Arc<[Want]>) -> Result<Asked, Why> {
        let is_wanted = |token: &u64| wants.iter().any(|want| want.token == *token);
        self.next.retain(|token, _| is_wanted(token));
        self.told.retain(|token, _| is_wanted(token));
        self.failed.retain(is_wanted);
        let first = if self.first < wants.len() { self.first } else { 0 };
        let in_turn = wants[first..].iter().chain(&wants[..first]);
        let of: Vec<(Want, i64)> = in_turn
            .filter(|want| !self.failed.contains(&want.token))
            .map(|want| (want.clone(), *self.next.entry(want.token).or_insert(want.from)))
            .collect();
        let asked = Asked { wants: wants.clone(), of };
        if asked.of.is_empty() {
            return Ok(asked);
        }
        let asks: Vec<Ask<'_>> = asked
            .of
            .iter()
            .map(|(want, offset)| Ask { topic: &want.topic, partition: want.partition, offset: *offset })
            .collect();
        self.requests = self.requests.wrapping_add(1);
        let settings = &self.settings;
        let bounds = Bounds {
            wait_ms: settings.wait.as_millis() as i32,
            answer_bytes_max: settings.answer_bytes_max as i32,
            partition_bytes_max: settings.partition_bytes_max as i32,
        };
        protocol::ask(&mut self.request, self.requests, &settings.client_id, bounds, &asks);
        stream.write_all(&self.request).map_err(|error| self.broken("asking", &error))?;
        Ok(asked)
    }

    /// An answer without its size, at the beginning of the bytes, and how many of them it is.
    fn receive(&mut self, stream: &mut Stream) -> Result<(Vec<u8>, usize), Why> {
        let mut size = [0; SIZE_BYTES];
        stream.read_exact(&mut size).map_err(|error| self.broken("reading from", &error))?;
        let size = u32::from_be_bytes(size) as usize;
        let bytes_max = self.settings.answer_bytes_max + self.settings.first_batch_bytes_max;
        if size > bytes_max {
            return Err(Why::Unfit(format!("an answer of {size} bytes, of which {bytes_max} are taken")));
        }
        let mut bytes = std::mem::take(&mut self.kept);
        if bytes.is_empty() {
            bytes = self.spares.try_recv().unwrap_or_default();
        }
        if bytes.len() < size {
            bytes.resize(size, 0);
        } else if bytes.len() > 2 * self.settings.answer_bytes_max {
            // Of an answer with a large record.
            bytes.truncate(size);
            bytes.shrink_to_fit();
        }
        stream.read_exact(&mut bytes[..size]).map_err(|error| self.broken("reading from", &error))?;
        Ok((bytes, size))
    }

    /// What an answer says that is worth telling, and for how long the broker wants to be left alone.
    fn parts(&mut self, answer: &[u8], asked: &[(Want, i64)]) -> Result<(Vec<Part>, Duration), Why> {
        let mut parts = Vec::new();
        let mut hint = 0;
        let mut last = None;
        let head = protocol::read(answer, &mut |part| {
            let is_it = |(want, _): &(Want, i64)| want.partition == part.partition && *want.topic == *part.topic;
            // Mostly in the order in which they were asked for.
            let found = (hint..asked.len()).chain(0..hint).find(|index| is_it(&asked[*index]));
            let Some(found) = found else { return };
            hint = found + 1;
            let (want, offset) = &asked[found];
            let mut next = *offset;
            if part.error != 0 {
                self.failed.insert(want.token);
            } else if let Some(past) = batch::past_offset(&answer[part.records.clone()]) {
                next = next.max(past);
                self.next.insert(want.token, next);
                last = Some(want.token);
            }
            let is_at_end = next >= part.last_stable_offset;
            let told = (part.last_stable_offset, part.high_watermark, is_at_end);
            let is_news = self.told.insert(want.token, told) != Some(told);
            if part.error != 0 || !part.records.is_empty() || is_news {
                parts.push(Part {
                    token: want.token,
                    error: part.error,
                    high_watermark: part.high_watermark,
                    end: part.last_stable_offset,
                    aborted: part.aborted,
                    records: part.records,
                });
            }
        });
        let head = head.filter(|head| head.number == self.requests).ok_or_else(|| self.no_answer())?;
        if head.error != 0 {
            return Err(Why::Broken(format!("the broker answers with error {}", head.error)));
        }
        if let Some(last) = last {
            let wants = lock(&self.shared.wants).list.clone();
            self.first = wants.iter().position(|want| want.token == last).map_or(0, |index| index + 1);
        }
        Ok((parts, Duration::from_millis(head.throttle_ms.max(0) as u64)))
    }
}

impl Read for Stream {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read(bytes),
            Self::Tls(stream) => stream.read(bytes),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.write(bytes),
            Self::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.flush(),
            Self::Tls(stream) => stream.flush(),
        }
    }
}

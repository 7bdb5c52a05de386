//! NATS JetStream. The only part of Amoskys that knows async-nats; tokio, which that needs, stays in here too.
//!
//! A topic is a stream, a partition a subject, an offset a stream sequence less one (see `topics`). A group is a
//! key-value bucket: who owns what, leases, positions, and each member's commit log (see `group`, `commit`,
//! `takeover`). Needs nats-server 2.10 or newer and says so when it connects.
//! Deliberately not here: JetStream domains, mirrors, consumers that others could see.
//! Limits: one connection and one thread of a runtime for a bus and all of its handles; calls come from threads that
//! are not in a tokio runtime.

mod bucket;
mod commit;
mod commit_log;
mod complaints;
mod config;
mod errors;
mod fetch;
mod forward;
mod leases;
mod link;
mod member;
mod membership;
mod names;
mod outbox;
mod partition;
mod present;
mod producer;
mod reader;
mod seats;
mod stream;
mod takeover;
mod topics;
mod version;
mod wire;

use crate::{
    Address, Bus, BusError, BusOptions, Member, MemberOptions, Producer, ProducerOptions, Reader, ReaderOptions,
    TopicInfo, TopicSpec,
};
use link::Link;
use std::{sync::Arc, time::Duration};
use tokio::runtime::{Builder, Runtime};
use topics::Topics;

/// How long opening waits to learn whether the server will do.
const CHECK_WITHIN: Duration = Duration::from_secs(2);

/// What a server's refusal of the certificate or the login is when the bus is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnRefusal {
    /// An error.
    Fail,
    /// For the handles to tell; the connection is tried again for as long as the bus lives.
    TryOn,
}

/// A NATS server or cluster.
pub struct NatsBus {
    address: Address,
    core: Arc<Core>,
}

/// What all handles share, and the runtime that their tasks run on.
struct Core {
    link: Arc<Link>,
    topics: Arc<Topics>,
    runtime: Option<Runtime>,
}

/// What a task may hold: not the runtime that it runs on.
#[derive(Clone)]
struct Shared {
    link: Arc<Link>,
    topics: Arc<Topics>,
}

impl NatsBus {
    /// Connects; a server that is away is waited for by the handles. [`BusError::Misconfigured`] when the server is too
    /// old or has no JetStream; [`BusError::Unauthorised`] when it refuses the login and [`BusError::Tls`] the certificate, if that is to
    /// fail.
    pub fn connect(options: &BusOptions, on_refusal: OnRefusal) -> Result<Self, BusError> {
        // Libraries that bring another provider leave rustls without a default. Whoever was first is as good.
        let _ = async_nats::rustls::crypto::ring::default_provider().install_default();
        let runtime = Builder::new_multi_thread().worker_threads(1).thread_name("nats").enable_all().build();
        let runtime = runtime.map_err(|error| BusError::Failed {
            action: "starting the runtime of the NATS client",
            detail: error.to_string(),
            retryable: false,
        })?;
        let link = Arc::new(runtime.block_on(Link::open(options, on_refusal))?);
        let core = Core { link, topics: Arc::default(), runtime: Some(runtime) };
        match core.run(async {
            if core.link.is_connected() { core.link.ready(CHECK_WITHIN).await.map(drop) } else { Ok(()) }
        }) {
            Err(error) if !error.retryable() && !on_refusal.allows(&error) => return Err(error),
            _ => {}
        }
        Ok(Self { address: options.address.clone(), core: Arc::new(core) })
    }
}

impl OnRefusal {
    fn allows(self, error: &BusError) -> bool {
        self == Self::TryOn && matches!(error, BusError::Unauthorised { .. } | BusError::Tls { .. })
    }
}

impl Core {
    fn runtime(&self) -> &Runtime {
        // There until `drop`.
        self.runtime.as_ref().unwrap_or_else(|| unreachable!())
    }

    /// On the caller's thread, which waits.
    fn run<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime().block_on(future)
    }

    fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) -> tokio::task::AbortHandle {
        self.runtime().spawn(future).abort_handle()
    }

    fn shared(&self) -> Shared {
        Shared { link: self.link.clone(), topics: self.topics.clone() }
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Bus for NatsBus {
    fn address(&self) -> &Address {
        &self.address
    }

    fn topics(&self) -> Result<Vec<TopicInfo>, BusError> {
        self.core.run(topics::list(&self.core.link))
    }

    fn create_topic(&self, topic: &TopicSpec) -> Result<bool, BusError> {
        self.core.run(topics::create(&self.core.link, topic))
    }

    fn producer(&self, options: &ProducerOptions) -> Result<Box<dyn Producer>, BusError> {
        Ok(Box::new(producer::NatsProducer::new(self.core.clone(), options)?))
    }

    fn reader(&self, options: &ReaderOptions) -> Result<Box<dyn Reader>, BusError> {
        Ok(Box::new(reader::NatsReader::new(self.core.clone(), options)))
    }

    fn member(&self, options: &MemberOptions) -> Result<Box<dyn Member>, BusError> {
        Ok(Box::new(member::NatsMember::new(self.core.clone(), options)?))
    }
}

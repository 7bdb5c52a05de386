//! The producer behind a member: outputs and positions in one transaction, or outputs acknowledged one by one.
//!
//! librdkafka retries by itself what can be retried; what is left is to abort, to go on with a commit whose outcome
//! is not known yet, or to stop because somebody else took the transactional id. Limits: a call that librdkafka never answers
//! keeps its producer and a thread until its broker is next away (see [`Writer::send_offsets`]).

use super::{
    answer::answer_within,
    context::{ProducerEvents, lock},
    errors::{During, is_fenced},
    limits::TopicLimits,
    producer::{Pause, enqueue},
};
use crate::{BusError, Outgoing};
use rdkafka::{
    ClientConfig, TopicPartitionList,
    consumer::ConsumerGroupMetadata,
    error::{KafkaError, RDKafkaError},
    producer::{BaseProducer, Producer as _},
    types::RDKafkaErrorCode as Code,
};
use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};

const ABORT_WITHIN: Duration = Duration::from_secs(5);
/// An abort waits for the reports of what it gives up, and only a poll takes them: it is gone on with this often.
const ABORT_STEP: Duration = Duration::from_millis(10);
/// As often when there is nothing to report: librdkafka can mix up the answers to calls that were given up.
const ABORT_QUIET_STEP: Duration = Duration::from_secs(1);

/// What positions may take beyond the time that they were given, before nobody waits for them any more.
const OFFSETS_GRACE: Duration = Duration::from_secs(1);

/// Positions as librdkafka wants them, and the group's generation that vouches for them.
pub(super) struct Offsets {
    pub list: TopicPartitionList,
    pub group: Arc<ConsumerGroupMetadata>,
}

pub(super) struct Writer {
    config: ClientConfig,
    limits: TopicLimits,
    address: String,
    record_bytes_max: usize,
    timeout: Duration,
    producer: Option<Arc<BaseProducer<ProducerEvents>>>,
    state: State,
}

/// Where the transactional producer stands.
enum State {
    /// `init_transactions` is still to be done.
    New,
    Ready,
    /// The broker was asked to commit and has not answered: the same commit must be asked for again.
    Committing,
    /// Somebody else has the transactional id.
    Fenced(String),
}

impl Writer {
    pub(super) fn new(
        config: ClientConfig,
        limits: TopicLimits,
        address: String,
        record_bytes_max: usize,
        timeout: Duration,
    ) -> Self {
        Self { config, limits, address, record_bytes_max, timeout, producer: None, state: State::New }
    }

    /// Takes the transactional id: what an earlier holder left open is finished or aborted, and it is fenced.
    /// Waits at most `timeout`; a failure that can be retried goes on where it was.
    pub(super) fn init(&mut self, timeout: Duration) -> Result<(), BusError> {
        match &self.state {
            State::New => {}
            State::Fenced(detail) => return Err(BusError::Fenced { detail: detail.clone() }),
            State::Ready | State::Committing => return Ok(()),
        }
        let done = self.producer()?.init_transactions(timeout);
        match done {
            Ok(()) => {
                self.state = State::Ready;
                Ok(())
            }
            Err(error) => Err(self.sort_out("starting transactions", &error)),
        }
    }

    /// A commit was begun whose outcome is not known.
    pub(super) fn is_committing(&self) -> bool {
        matches!(self.state, State::Committing)
    }

    /// Nobody will ask for the unanswered commit again. The next [`Writer::init`] waits until the broker has finished
    /// or aborted it; the committed positions then say which.
    pub(super) fn abandon(&mut self) {
        if self.is_committing() {
            self.replace();
        }
    }

    /// Writes outputs and positions so that both or neither can be read.
    pub(super) fn transact(&mut self, outputs: &[Outgoing], offsets: Option<Offsets>) -> Result<(), BusError> {
        self.init(self.timeout)?;
        if !self.is_committing() {
            self.begin()?;
            if let Err(error) = self.fill(outputs, offsets) {
                self.abort();
                return Err(error);
            }
        }
        self.finish()
    }

    /// Writes outputs and waits for the acknowledgement of every one.
    pub(super) fn write(&mut self, outputs: &[Outgoing]) -> Result<(), BusError> {
        self.producer()?;
        self.enqueue_all(outputs)?;
        self.wait_for_reports()
    }

    fn producer(&mut self) -> Result<&Arc<BaseProducer<ProducerEvents>>, BusError> {
        if self.producer.is_none() {
            let created = self.config.create_with_context(ProducerEvents::new(self.address.clone(), &self.config));
            let created = created.map_err(|error| self.during("creating a producer").error(&error))?;
            self.producer = Some(Arc::new(created));
        }
        self.producer.as_ref().ok_or_else(|| self.gone())
    }

    fn existing(&self) -> Result<&Arc<BaseProducer<ProducerEvents>>, BusError> {
        self.producer.as_ref().ok_or_else(|| self.gone())
    }

    fn gone(&self) -> BusError {
        BusError::Failed { action: "writing to Kafka", detail: "there is no producer".to_owned(), retryable: true }
    }

    fn during(&self, action: &'static str) -> During<'_> {
        During { action, address: &self.address, topic: "" }
    }

    /// librdkafka can take the answer to a call that was given up, as to an abort by steps, for the answer to the next
    /// one, and then is elsewhere than it said. Nothing of this transaction is written yet: another producer begins it.
    fn begin(&mut self) -> Result<(), BusError> {
        let begun = self.existing()?.begin_transaction();
        begun.map_err(|error| {
            if error.rdkafka_error_code() == Some(Code::State) {
                self.replace();
            }
            self.sort_out("beginning a transaction", &error)
        })
    }

    /// Outputs travel while the offsets are being sent.
    fn fill(&mut self, outputs: &[Outgoing], offsets: Option<Offsets>) -> Result<(), BusError> {
        self.enqueue_all(outputs)?;
        self.existing()?.poll(Duration::ZERO);
        if let Some(offsets) = offsets {
            self.send_offsets(offsets)?;
        }
        self.wait_for_reports()
    }

    /// librdkafka looks for the group's coordinator, where it does not know it, without a limit of time: it asks three times in
    /// turn, and where it hears that none is available yet, as from a broker that has just started, again when the next
    /// broker comes or goes. So another thread waits. Whom it leaves waiting is replaced, and by that fenced: nothing of
    /// what it may still send counts.
    fn send_offsets(&mut self, Offsets { list, group }: Offsets) -> Result<(), BusError> {
        let (producer, timeout) = (self.existing()?.clone(), self.timeout);
        let answer = answer_within(timeout + OFFSETS_GRACE, move || {
            let sent = producer.send_offsets_to_transaction(&list, &group, timeout);
            // Whoever hears the answer may want to have the last one.
            drop(producer);
            sent
        });
        let action = "adding positions to a transaction";
        let failed = |error: io::Error| BusError::Failed { action, detail: error.to_string(), retryable: true };
        match answer.map_err(failed)? {
            Some(sent) => sent.map_err(|error| self.sort_out(action, &error)),
            None => {
                self.replace();
                let detail = "positions were not taken in time; another producer goes on".to_owned();
                Err(BusError::Unreachable { address: self.address.clone(), detail })
            }
        }
    }

    fn enqueue_all(&self, outputs: &[Outgoing]) -> Result<(), BusError> {
        let producer = self.existing()?;
        // Of an earlier commit; only failures are reported, so nothing else says that it is over.
        let _ = producer.context().last_error.take();
        let mut pause = Pause::new();
        for (token, record) in outputs.iter().enumerate() {
            while !enqueue(producer, record, token, self.record_bytes_max)? {
                pause.wait(Duration::MAX);
                producer.poll(Duration::ZERO);
            }
        }
        Ok(())
    }

    /// Until everything sent is acknowledged or given up; the first failure is returned, and only failures are reported.
    fn wait_for_reports(&mut self) -> Result<(), BusError> {
        let producer = self.existing()?;
        let mut pause = Pause::new();
        producer.poll(Duration::ZERO);
        while producer.in_flight_count() > 0 {
            pause.wait(Duration::MAX);
            producer.poll(Duration::ZERO);
        }
        let reports = std::mem::take(&mut *lock(&producer.context().reports));
        for report in reports {
            let mut result = report.result;
            self.limits.complete(&mut result);
            result?;
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<(), BusError> {
        let deadline = Instant::now() + self.timeout;
        self.state = State::Committing;
        loop {
            let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(100));
            let error = match self.existing()?.commit_transaction(left) {
                Ok(()) => {
                    self.state = State::Ready;
                    return Ok(());
                }
                Err(error) => error,
            };
            let retry = matches!(&error, KafkaError::Transaction(error) if may_go_on(error));
            if retry && Instant::now() < deadline {
                continue;
            }
            if retry {
                let detail = format!("{error}; the outcome of the transaction is not known yet");
                return Err(BusError::Unreachable { address: self.address.clone(), detail });
            }
            self.state = State::Ready;
            let told = self.sort_out("committing a transaction", &error);
            self.abort();
            // Whether it is committed is not known, and nobody is left to ask: the same must not be written again.
            return Err(match told {
                BusError::Failed { action, detail, .. } if error.rdkafka_error_code() == Some(Code::State) => {
                    BusError::Failed { action, detail, retryable: false }
                }
                told => told,
            });
        }
    }

    /// Whatever is left of the transaction is undone; a producer that cannot even do that is replaced.
    fn abort(&mut self) {
        let Some(producer) = &self.producer else { return };
        let deadline = Instant::now() + ABORT_WITHIN;
        let aborted = loop {
            let reports_are_out = producer.in_flight_count() > 0;
            let step = producer.abort_transaction(if reports_are_out { ABORT_STEP } else { ABORT_QUIET_STEP });
            // One event each: reports, and log lines.
            (0..=producer.in_flight_count()).for_each(|_| producer.poll(Duration::ZERO));
            let go_on = matches!(&step, Err(KafkaError::Transaction(error)) if may_go_on(error));
            if !go_on || Instant::now() >= deadline {
                break step;
            }
        };
        lock(&producer.context().reports).clear();
        if let Err(error) = aborted {
            tracing::debug!(target: "amoskys_bus::kafka", %error, "a transaction could not be aborted");
            self.replace();
        }
    }

    /// The next one takes the transactional id anew, which aborts what this one left open.
    fn replace(&mut self) {
        self.producer = None;
        if !matches!(self.state, State::Fenced(_)) {
            self.state = State::New;
        }
    }

    /// What the failure means, and what of this writer survives it.
    fn sort_out(&mut self, action: &'static str, error: &KafkaError) -> BusError {
        // A producer that has failed for good answers everything with `Fatal`; what it died of says more.
        let died_of = self.producer.as_ref().and_then(|producer| producer.client().fatal_error());
        let told = match &died_of {
            Some((code, reason)) => self.during(action).code(*code, reason),
            None => self.during(action).error(error),
        };
        if let Some((code, reason)) = died_of {
            if is_fenced(code) {
                self.state = State::Fenced(format!("{reason}; somebody else writes under this member's name"));
            }
            self.replace();
            return told;
        }
        let KafkaError::Transaction(native) = error else { return told };
        match told {
            // After the abort the same can be tried again.
            BusError::Failed { action, detail, retryable: false }
                if native.txn_requires_abort() || native.is_retriable() =>
            {
                BusError::Failed { action, detail, retryable: true }
            }
            told => told,
        }
    }
}

fn may_go_on(error: &RDKafkaError) -> bool {
    error.is_retriable() && !error.txn_requires_abort() && !error.is_fatal()
}

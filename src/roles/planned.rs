//! A processor before it touches anything: SQL and models found good, and the topics that it will need.
//!
//! Whatever can be wrong is found here or in [`PlannedProcessor::needs_no_more_than`], so that a start that fails leaves
//! no log, no topic and no file. Limits: that topics are missing on a broker is found after it was reached.

use super::{ModelPlace, Models, Processor, create_topics};
use crate::{
    cli::Misuse,
    config::ProcessorConfig,
    print::counted,
    sql::SqlIsWrong,
    topics::{default_settings, own_topics},
};
use amoskys_bus::{Address, Bus, MemberOptions, TopicInfo, TopicSpec};
use amoskys_pipeline::{
    run::{Metrics, Verify, Worker, WorkerOptions},
    sql::{self, Dataflow, Wanted},
};
use anyhow::{Context, Result};
use prometheus_client::registry::Registry;
use std::{collections::BTreeSet, num::NonZeroUsize, path::PathBuf, sync::Arc, thread};

/// What a processor is made of.
#[derive(Clone)]
pub struct ProcessorParts {
    pub sql: Vec<PathBuf>,
    /// Shared by all plans of a process, as ONNX Runtime is loaded once.
    pub models: Arc<Models>,
    /// Threads, each a member of the group.
    pub workers: usize,
    pub options: WorkerOptions,
}

impl ProcessorParts {
    pub fn from_config(config: &ProcessorConfig, verify: Verify, sql: Vec<PathBuf>) -> Self {
        let member = MemberOptions {
            instance: config.instance.clone(),
            delivery: config.delivery,
            start_at: config.start_at,
            prefetch_bytes_max: config.prefetch_bytes_max,
            session_timeout: config.session_timeout,
            transaction_timeout: config.transaction_timeout,
            ..MemberOptions::new(config.group.clone(), Vec::new())
        };
        let options = WorkerOptions {
            verify,
            dead_letter_topic: config.dead_letter_topic.clone(),
            panes_topic: config.panes_topic.clone(),
            commit_interval: config.commit_interval,
            ..WorkerOptions::new(member)
        };
        let place = ModelPlace { models_dir: config.models_dir.clone(), onnxruntime: config.onnxruntime.clone() };
        let models = Models::new(place);
        let workers = config.workers.unwrap_or_else(|| thread::available_parallelism().map_or(1, NonZeroUsize::get));
        Self { sql, models, workers, options }
    }
}

/// SQL and models that were found good, a dataflow for each worker. Nothing is opened yet.
pub struct PlannedProcessor {
    dataflows: Vec<Dataflow>,
    options: WorkerOptions,
}

impl PlannedProcessor {
    /// Plans the SQL; all its problems are one error.
    pub fn new(parts: ProcessorParts) -> Result<Self> {
        let sources = sql::load(&parts.sql);
        let models = parts.models;
        let plan = |_| {
            // Planned for each, with models of its own: what a plan runs over and a model's session are one thread's.
            let options = sql::Options {
                pool: amoskys_proto::pool().context("the wire contract does not load")?,
                models: models.lookup(),
                wanted: Wanted::Inserts,
            };
            sql::plan(&sources, &options).map_err(|problems| SqlIsWrong::new(problems).into())
        };
        let dataflows: Vec<Dataflow> = (0..parts.workers.max(1)).map(plan).collect::<Result<_>>()?;
        let group = parts.options.member.group.clone();
        let into_files: Vec<String> = dataflows[0]
            .into_files()
            .map(|(insert, sink)| format!("{}: `{}` is a file, {}", insert.file.display(), sink.name, sink.topic))
            .collect();
        if !into_files.is_empty() {
            let all = into_files.join("\n");
            let help = "a processor inserts into topics; files are written by `amoskys sql run`, over history";
            return Err(Misuse(format!("INSERT into a file\n{all}\n{help}")).into());
        }
        for warning in &dataflows[0].warnings {
            tracing::warn!("{warning}");
        }
        let mut planned = Self { dataflows, options: parts.options };
        planned.set_group(group);
        Ok(planned)
    }

    /// Topics that have to be there: read, written, for dead letters, and for what long windows hold.
    pub fn topics(&self) -> BTreeSet<&str> {
        let mut topics = self.dataflows[0].topics();
        topics.insert(&self.options.dead_letter_topic);
        if self.dataflows[0].keeps_panes() {
            topics.insert(&self.options.panes_topic);
        }
        topics
    }

    /// Puts other topics in the place of those that SQL and options name.
    pub fn rename_topics(&mut self, name: &dyn Fn(&str) -> String) {
        self.dataflows.iter_mut().for_each(|dataflow| dataflow.rename_topics(name));
        self.options.dead_letter_topic = name(&self.options.dead_letter_topic);
        self.options.panes_topic = name(&self.options.panes_topic);
    }

    pub fn set_group(&mut self, group: String) {
        self.dataflows.iter_mut().for_each(|dataflow| dataflow.name_shuffles(&group));
        self.options.member.group = group;
    }

    /// Whether there is no INSERT.
    pub fn computes_nothing(&self) -> bool {
        self.dataflows[0].streams.iter().all(|flow| flow.inserts.is_empty())
    }

    /// One for each worker.
    pub fn into_dataflows(self) -> Vec<Dataflow> {
        self.dataflows
    }

    /// What it is, for people.
    pub fn summary(&self) -> String {
        let flows = &self.dataflows[0].streams;
        let inserts: usize = flows.iter().map(|flow| flow.inserts.len()).sum();
        let (streams, workers) = (self.dataflows[0].summary(), counted(self.dataflows.len(), "worker"));
        format!("{streams}, {} by {workers}", counted(inserts, "INSERT"))
    }

    /// An embedded log that would have to be made first has no topics: told before it is made.
    pub fn needs_no_more_than(&self, address: &Address, with_own: bool) -> Result<()> {
        match address {
            Address::Local { path } if !amoskys_bus::local::is_log(path) => self.check(&[], address, with_own),
            _ => Ok(()),
        }
    }

    /// Checks that all topics are there, those of Amoskys' own excepted that are created after that, with so many
    /// partitions. All that are missing are one error. A log that cannot be reached now is waited for later.
    pub fn find_topics(&self, bus: &dyn Bus, create_own: Option<i32>) -> Result<()> {
        match bus.topics() {
            Ok(there) => self.check(&there, bus.address(), create_own.is_some())?,
            Err(error) if error.retryable() && create_own.is_none() => {
                tracing::warn!(%error, "topics cannot be checked");
            }
            Err(error) => return Err(error.into()),
        }
        create_own.map_or(Ok(()), |partitions| create_topics(bus, self.own_topics(partitions)))
    }

    /// Those of Amoskys, and those that groups of this SQL are sent through.
    fn own_topics(&self, partitions: i32) -> Vec<TopicSpec> {
        let shuffles = self.dataflows[0].shuffle_topics().into_iter().map(|name| TopicSpec {
            name: name.to_owned(),
            partitions,
            replication: 1,
            settings: default_settings(name),
        });
        own_topics(partitions).into_iter().chain(shuffles).collect()
    }

    fn check(&self, there: &[TopicInfo], address: &Address, with_own: bool) -> Result<()> {
        let own = if with_own { self.own_topics(1) } else { Vec::new() };
        let known =
            |name: &&str| there.iter().any(|topic| topic.name == *name) || own.iter().any(|topic| topic.name == *name);
        let missing: Vec<&str> = self.topics().into_iter().filter(|name| !known(name)).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let names = missing.join(" ");
        let message =
            format!("topics are missing: {names}; create them: amoskys topics create {names} --bus {address}");
        Err(Misuse(message).into())
    }

    /// Workers on the log, with their numbers in `registry`.
    pub fn on(self, bus: Arc<dyn Bus>, registry: &mut Registry) -> Result<Processor> {
        let (metrics, workers) = (Metrics::register(registry), self.dataflows.len());
        let of_all = metrics.clone();
        let worker = |(index, dataflow)| {
            let options = options_of(&self.options, index, workers);
            Ok(Worker::new(bus.clone(), dataflow, options, metrics.worker(index as u32))?)
        };
        let workers = self.dataflows.into_iter().enumerate().map(worker).collect::<Result<_>>()?;
        Ok(Processor { workers, metrics: of_all })
    }
}

/// Each worker has a share of what is fetched ahead, and a name of its own where the processor has one.
fn options_of(options: &WorkerOptions, index: usize, workers: usize) -> WorkerOptions {
    let mut options = options.clone();
    options.member.prefetch_bytes_max = (options.member.prefetch_bytes_max / workers.max(1)).max(1 << 20);
    if workers > 1 {
        options.member.instance = options.member.instance.map(|instance| format!("{instance}-{index}"));
    }
    options
}

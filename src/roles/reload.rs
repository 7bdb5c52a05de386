//! Other SQL for a processor that runs: noticed (`--watch`) or asked for (SIGHUP), found good, handed to the workers.
//!
//! SQL that is wrong, or wants a topic that is not there, is told of and changes nothing. Deliberately not here: how a
//! worker gets to it (amoskys-pipeline). Limits: of what SQL names, schemas and fitted statistics are watched; what a schema
//! imports, a schema registry and models are not, and are read again with the SQL. Files to join with are looked at by the workers.

use super::{PlannedProcessor, ProcessorParts};
use crate::stop::Hangup;
use amoskys_bus::Bus;
use amoskys_pipeline::{
    run::{Metrics, NextSql},
    sql,
};
use anyhow::Result;
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

const LOOK_EVERY: Duration = Duration::from_millis(500);
const NAP: Duration = Duration::from_millis(50);

/// What is needed to plan anew, and where it is put.
pub struct Reloading {
    pub parts: ProcessorParts,
    pub create_topics: Option<i32>,
    pub watch: bool,
    /// Of the SQL that runs.
    pub digest: String,
    pub hangup: Hangup,
    pub bus: Arc<dyn Bus>,
    pub workers: Vec<NextSql>,
    pub metrics: Metrics,
}

impl Reloading {
    /// Looks and listens until `stop` is set.
    pub fn run(self, stop: &AtomicBool) {
        let digest = || sql::load(&self.parts.sql).digest();
        // What was seen last, and what was tried last: a folder is read when it stands still.
        let (mut seen, mut tried) = (self.digest.clone(), self.digest.clone());
        let mut last_look = Instant::now();
        while !stop.load(Ordering::Relaxed) {
            thread::sleep(NAP);
            if self.hangup.was_asked() {
                tracing::info!("SIGHUP: reading the SQL again");
                tried = digest();
                self.reload();
            }
            if self.watch && last_look.elapsed() >= LOOK_EVERY {
                let now = digest();
                if now == seen && now != tried {
                    tracing::info!("the SQL changed, or a file that it names; reading it again");
                    tried = now.clone();
                    self.reload();
                }
                (seen, last_look) = (now, Instant::now());
            }
        }
    }

    fn reload(&self) {
        match self.planned() {
            Ok(planned) => {
                let summary = planned.summary();
                if planned.computes_nothing() {
                    tracing::warn!("the SQL has no INSERT any more: nothing is detected");
                }
                for (worker, dataflow) in self.workers.iter().zip(planned.into_dataflows()) {
                    worker.put(dataflow);
                }
                tracing::info!("the SQL is good: {summary}; going over to it");
            }
            Err(error) => {
                self.metrics.reload_failures.inc();
                tracing::error!("the SQL is not taken, and what ran goes on: {error:#}");
            }
        }
    }

    fn planned(&self) -> Result<PlannedProcessor> {
        let planned = PlannedProcessor::new(self.parts.clone())?;
        planned.find_topics(self.bus.as_ref(), self.create_topics)?;
        Ok(planned)
    }
}

//! What INSERTs make of windows that have closed.

use super::{Core, merging::sources};
use crate::{
    run::{
        emit::{Emission, Evidence},
        stages::{Closed, Windows, rows_of},
        task::TaskError,
    },
    sql::{Query, StreamFlow, Together},
};
use amoskys_windows::Origin;
use arrow::{compute::concat_batches, record_batch::RecordBatch};
use std::time::Instant;

/// Windows by what they are told by, as [`Windows`] has them.
type Entry<'a> = (&'a (i64, i64, i64), &'a Vec<Option<Closed>>);

impl Core {
    /// Hands out what the INSERTs make of windows that are not published yet.
    pub(super) fn emit_windows(
        &mut self,
        flow: &StreamFlow,
        windows: &Windows,
        emissions: &mut Vec<Emission>,
    ) -> Result<(), TaskError> {
        if windows.is_empty() {
            return Ok(());
        }
        let begun = Instant::now();
        let new: Vec<Entry<'_>> =
            windows.iter().filter(|((closes_ns, ..), _)| *closes_ns > self.published_through_ns).collect();
        // In this order whoever closes how many at once.
        for entries in new.chunk_by(|((one, ..), _), ((other, ..), _)| one == other) {
            for &((_, end_ns, start_ns), inputs) in entries {
                self.counters.closed_windows += inputs.iter().flatten().count() as u64;
                for (index, insert) in flow.inserts.iter().enumerate() {
                    let Query::Windows { views, template, together: None } = &insert.query else { continue };
                    let Some((batch, origin)) = rows_of(flow, views, template, inputs)? else { continue };
                    if batch.num_rows() > 0 {
                        let sources = sources(flow, views, inputs);
                        emissions.push(self.emission(index, batch, (*start_ns, *end_ns), origin, sources));
                    }
                }
            }
            for (index, insert) in flow.inserts.iter().enumerate() {
                let Query::Windows { views, together: Some(together), .. } = &insert.query else { continue };
                self.emit_together(flow, (index, views, together), entries, emissions)?;
            }
        }
        self.emitting += begun.elapsed();
        Ok(())
    }

    /// As one by one, but that the INSERT sees the rows of all these windows of its view at once.
    fn emit_together(
        &mut self,
        flow: &StreamFlow,
        (index, views, together): (usize, &[usize], &Together),
        entries: &[Entry<'_>],
        emissions: &mut Vec<Emission>,
    ) -> Result<(), TaskError> {
        let Some(&view) = views.first() else { return Ok(()) };
        let closed: Vec<&Closed> = entries.iter().filter_map(|(_, inputs)| inputs[view].as_ref()).collect();
        let Some(rows) = all_of(&closed)? else { return Ok(()) };
        let (rows, windows) = together.run(rows)?;
        let mut from = 0;
        for alike in windows.chunk_by(|one, other| one == other) {
            let (start_ns, end_ns) = alike[0];
            let place = entries.partition_point(|((_, end, start), _)| (*end, *start) < (end_ns, start_ns));
            let entry = entries.get(place).filter(|((_, end, start), _)| (*end, *start) == (end_ns, start_ns));
            let Some((inputs, closed)) = entry.and_then(|(_, inputs)| Some((inputs, inputs[view].as_ref()?))) else {
                return Err(datafusion::common::internal_datafusion_err!("rows of no window").into());
            };
            let (batch, sources) = (rows.slice(from, alike.len()), sources(flow, views, inputs));
            emissions.push(self.emission(index, batch, (start_ns, end_ns), closed.origin, sources));
            from += alike.len();
        }
        Ok(())
    }

    fn emission(
        &mut self,
        insert: usize,
        batch: RecordBatch,
        window_ns: (i64, i64),
        origin: Origin,
        sources: Vec<Evidence>,
    ) -> Emission {
        self.counters.emitted_rows += batch.num_rows() as u64;
        let evidence = vec![self.evidence(origin.first.offset, origin.last_offset)];
        Emission { insert, batch, window_ns: Some(window_ns), evidence, sources, shed_rows: origin.shed_rows }
    }
}

/// The rows of all these, in their order; `None` when there are none.
fn all_of(closed: &[&Closed]) -> Result<Option<RecordBatch>, TaskError> {
    let Some(first) = closed.first() else { return Ok(None) };
    let rows: usize = closed.iter().map(|closed| closed.batch.num_rows()).sum();
    // Mostly just what was over at once, in the order in which it is here.
    if let Some((all, 0)) = first.among.as_ref().map(|(all, from)| (all, *from))
        && all.num_rows() == rows
    {
        return Ok(Some(all.clone()));
    }
    Ok(Some(concat_batches(&first.batch.schema(), closed.iter().map(|closed| &closed.batch))?))
}

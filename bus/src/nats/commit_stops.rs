//! Members that die or are stopped in the middle of a commit, for tests of who comes after.

use super::*;

impl Committer {
    /// Prepares a commit and dies once it is decided.
    pub(in crate::nats) async fn stop_after_writing(
        &mut self,
        outputs: &[Outgoing],
        positions: &[(TopicPartition, Position)],
        deadline: Instant,
    ) -> Result<(), BusError> {
        let commit = self.log.prepare(outputs, positions).await?;
        let entry = self.log.entry(&commit, deadline).await?;
        self.log.write(&entry, deadline).await?;
        let forwarding = Forwarding { commit, done: BTreeSet::new(), decided: Instant::now(), look_since: None };
        let (outputs, positions) = (outputs.to_vec(), positions.to_vec());
        self.pending = Some(Pending { outputs, positions, forwarding, entry: Some(entry), step: Step::Forward });
        Ok(())
    }

    /// The same, once `count` outputs are forwarded.
    pub(in crate::nats) async fn stop_after_forwarding(
        &mut self,
        outputs: &[Outgoing],
        positions: &[(TopicPartition, Position)],
        count: usize,
        deadline: Instant,
    ) -> Result<(), BusError> {
        self.stop_after_writing(outputs, positions, deadline).await?;
        let Some(pending) = &mut self.pending else { return Ok(()) };
        pending.forwarding.done = (count..outputs.len()).collect();
        self.log.fences.forward(&mut self.log.outbox, &mut pending.forwarding, left(deadline)).await?;
        pending.forwarding.done.clear();
        Ok(())
    }

    pub(in crate::nats) fn believe_it_is_early(&mut self) {
        if let Some(pending) = &mut self.pending {
            pending.forwarding.decided = Instant::now();
        }
    }
}

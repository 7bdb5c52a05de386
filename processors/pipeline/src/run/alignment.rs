//! Pieces of panes from many partitions of streams, put into one order that is always the same.
//!
//! Every source (a partition of a stream, for some panes) tells how far it has come. Pieces wait until all sources have come
//! as far as their tags, and are then taken by tag and, within one, by source: so it does not matter in which order records
//! of different sources stand in the topic. What is sent again is known by its tag, or by being the same piece.
//!
//! Deliberately not here: what records look like (`shipment`), what becomes of a piece (`core`).
//! Limits: what waits counts against `bytes_max`; past it pieces are left out and counted.

use amoskys_windows::{PaneState, ReplayPoint, ShipTag};
use std::collections::BTreeMap;

/// A partition of the stream that sends to these panes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Source {
    /// Index among the panes of the shuffle's flow.
    pub panes: usize,
    pub partition: i32,
}

/// In the order in which pieces are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PieceId {
    pub tag: ShipTag,
    pub source: Source,
    pub pane: i64,
    pub piece: u32,
}

/// Some keys of a pane.
#[derive(Debug, Clone, PartialEq)]
pub struct Piece {
    pub id: PieceId,
    pub state: PaneState,
    /// First and last record of the stream's partition that it comes from.
    pub offsets: (i64, i64),
}

/// A record of the shuffle's topic.
#[derive(Debug, Clone, PartialEq)]
pub struct Arrived {
    pub point: ReplayPoint,
    pub source: Source,
    /// How far the source has come with this record; absent when more of the same is to follow.
    pub claim: Option<ShipTag>,
    /// Of a source that other SQL had read: only windows that end after this have all of its rows.
    pub whole_after_ns: Option<i64>,
    pub pieces: Vec<Piece>,
}

/// How far a source has come.
#[derive(Debug, Clone, Copy)]
struct Claim {
    tag: ShipTag,
    /// The record that says so; absent where it is known without one.
    said_at: Option<ReplayPoint>,
}

impl Claim {
    fn known(tag: ShipTag) -> Self {
        Self { tag, said_at: None }
    }
}

/// The sources of one partition of a shuffle, and what waits.
#[derive(Debug, Default)]
pub struct Alignment {
    claims: BTreeMap<Source, Claim>,
    waiting: BTreeMap<PieceId, Piece>,
    waiting_bytes: usize,
    bytes_max: usize,
    /// Keys of pieces that were left out, since the last question.
    shed_keys: u64,
}

impl Alignment {
    /// All `sources` have come as far as `through`.
    pub fn new(sources: impl IntoIterator<Item = Source>, through: ShipTag, bytes_max: usize) -> Self {
        let claims = sources.into_iter().map(|source| (source, Claim::known(through))).collect();
        Self { claims, bytes_max, ..Self::default() }
    }

    /// A source that was not known (its stream was given a partition) is one from now on.
    pub fn push(&mut self, arrived: Arrived) {
        let claim = self.claims.entry(arrived.source).or_insert(Claim::known(ShipTag::NONE));
        for piece in arrived.pieces.into_iter().filter(|piece| piece.id.tag > claim.tag) {
            let bytes = bytes(&piece);
            if self.waiting_bytes + bytes > self.bytes_max {
                self.shed_keys += piece.state.rows as u64;
                continue;
            }
            // One that is here already is the same, and its place in the topic the earlier.
            self.waiting.entry(piece.id).or_insert_with(|| {
                self.waiting_bytes += bytes;
                piece
            });
        }
        if let Some(tag) = arrived.claim.filter(|tag| *tag > claim.tag) {
            *claim = Claim { tag, said_at: Some(arrived.point) };
        }
    }

    /// Nothing is known of how far any source has come.
    pub fn forget_claims(&mut self) {
        self.claims.values_mut().for_each(|claim| *claim = Claim::known(ShipTag::NONE));
    }

    /// All sources have come as far as this.
    pub fn raise(&mut self, through: ShipTag) {
        self.claims.values_mut().filter(|claim| claim.tag < through).for_each(|claim| *claim = Claim::known(through));
    }

    /// How far all sources have come.
    pub fn through(&self) -> ShipTag {
        self.claims.values().map(|claim| claim.tag).min().unwrap_or(ShipTag::NONE)
    }

    /// The source that all others wait for, and how far it has come.
    pub fn slowest(&self) -> Option<(Source, ShipTag)> {
        self.claims.iter().map(|(source, claim)| (*source, claim.tag)).min_by_key(|(_, tag)| *tag)
    }

    /// The tag of the piece that is to be taken next, if it is at most this.
    pub fn next_tag(&self, through: ShipTag) -> Option<ShipTag> {
        self.waiting.keys().next().map(|id| id.tag).filter(|tag| *tag <= through)
    }

    /// The piece that is to be taken next, if its tag is this.
    pub fn take(&mut self, tag: ShipTag) -> Option<Piece> {
        let first = self.waiting.first_entry().filter(|first| first.key().tag == tag)?;
        let piece = first.remove();
        self.waiting_bytes -= bytes(&piece);
        Some(piece)
    }

    /// From where to read again for what waits, and for how far those have come who are ahead of others: they may have
    /// nothing more to say.
    pub fn oldest(&self) -> Option<ReplayPoint> {
        let through = self.through();
        let ahead = self.claims.values().filter(|claim| claim.tag > through).filter_map(|claim| claim.said_at);
        let waiting = self.waiting.values().map(|piece| piece.state.origin.first);
        ahead.chain(waiting).min_by_key(|point| point.offset)
    }

    pub fn waiting_bytes(&self) -> usize {
        self.waiting_bytes
    }

    pub fn take_shed_keys(&mut self) -> u64 {
        std::mem::take(&mut self.shed_keys)
    }
}

/// Counted by content, so that it is the same for a piece wherever its arrays lie.
fn bytes(piece: &Piece) -> usize {
    const PIECE_BYTES: usize = 128;
    piece.state.cost_bytes + PIECE_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;
    use amoskys_windows::Watermark;

    fn source(partition: i32) -> Source {
        Source { panes: 0, partition }
    }

    fn arrived(partition: i32, tags: &[i64], claim: Option<i64>) -> Arrived {
        let point = ReplayPoint { offset: i64::from(partition), watermark: Watermark::default() };
        let piece = |&tag: &i64| Piece {
            id: PieceId { tag: ShipTag::at(tag), source: source(partition), pane: 1, piece: 0 },
            state: PaneState {
                pane: 1,
                rows: 1,
                keys: Vec::new(),
                states: Vec::new(),
                origin: point.into(),
                cost_bytes: 0,
            },
            offsets: (0, 0),
        };
        Arrived {
            point,
            source: source(partition),
            claim: claim.map(ShipTag::at),
            whole_after_ns: None,
            pieces: tags.iter().map(piece).collect(),
        }
    }

    fn taken(alignment: &mut Alignment) -> Vec<(i64, i32)> {
        let mut taken = Vec::new();
        while let Some(tag) = alignment.next_tag(alignment.through()) {
            while let Some(piece) = alignment.take(tag) {
                taken.push((piece.id.tag.watermark_ns, piece.id.source.partition));
            }
        }
        taken
    }

    #[test]
    fn pieces_wait_for_the_slowest_and_come_by_tag_and_source() {
        let mut alignment = Alignment::new([source(0), source(1)], ShipTag::NONE, usize::MAX);
        alignment.push(arrived(1, &[10, 20, 30], Some(30)));
        assert_eq!(taken(&mut alignment), [], "nobody has heard of the other");
        assert_eq!(alignment.slowest(), Some((source(0), ShipTag::NONE)));
        alignment.push(arrived(0, &[20], Some(25)));
        assert_eq!(taken(&mut alignment), [(10, 1), (20, 0), (20, 1)]);
        assert_eq!((alignment.through(), alignment.oldest().map(|point| point.offset)), (ShipTag::at(25), Some(1)));
        alignment.raise(ShipTag::at(30));
        assert_eq!(taken(&mut alignment), [(30, 1)]);
        assert_eq!(alignment.waiting_bytes(), 0);
    }

    #[test]
    fn how_far_somebody_is_ahead_is_read_again() {
        let mut alignment = Alignment::new([source(0), source(1)], ShipTag::NONE, usize::MAX);
        let oldest = |alignment: &Alignment| alignment.oldest().map(|point| point.offset);
        alignment.push(arrived(1, &[], Some(30)));
        assert_eq!(oldest(&alignment), Some(1), "it may never say so again");
        alignment.push(arrived(0, &[], Some(30)));
        assert_eq!(oldest(&alignment), None, "what all have passed is in the watermark");
        alignment.push(arrived(0, &[], Some(40)));
        assert_eq!(oldest(&alignment), Some(0));
        alignment.raise(ShipTag::at(40));
        assert_eq!(oldest(&alignment), None);
    }

    #[test]
    fn what_is_sent_again_counts_once_whether_it_waits_or_was_taken() {
        let mut alignment = Alignment::new([source(0)], ShipTag::at(0), usize::MAX);
        alignment.push(arrived(0, &[10], None));
        alignment.push(arrived(0, &[10, 20], Some(20)));
        assert_eq!(taken(&mut alignment), [(10, 0), (20, 0)]);
        alignment.push(arrived(0, &[10, 20, 30], Some(30)));
        assert_eq!(taken(&mut alignment), [(30, 0)]);
    }

    #[test]
    fn what_waits_is_bounded() {
        let mut alignment = Alignment::new([source(0), source(1)], ShipTag::NONE, 300);
        alignment.push(arrived(0, &[1, 2, 3, 4], Some(4)));
        assert_eq!((alignment.take_shed_keys(), alignment.take_shed_keys()), (2, 0));
        alignment.push(arrived(1, &[], Some(9)));
        assert_eq!(taken(&mut alignment), [(1, 0), (2, 0)]);
    }
}

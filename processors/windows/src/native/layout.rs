//! Which aggregates have accumulators of our own, and where in a key's row of words their state is.
//!
//! A *counter* counts the rows that pass one filter. A *lane* is a column under a filter: its number of values is the
//! counter's, less those that were null, so lanes without nulls need no count of their own. Aggregates over the same lane
//! share its words: `avg` and `sum` of doubles have one sum, `stddev` and `var` one mean. What every row changes comes
//! first, then what is under filters, so that the cache lines of a filter that few rows pass are seldom touched.

use crate::Aggregate;
use arrow::datatypes::DataType;
use datafusion::functions_aggregate::{
    average::Avg,
    count::Count,
    min_max::{Max, Min},
    stddev::{Stddev, StddevPop},
    sum::Sum,
    variance::{VariancePopulation, VarianceSample},
};

/// How the words of a lane's values are to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Signed,
    Unsigned,
    Float,
}

impl Kind {
    /// Of a primitive type whose values fit into a word.
    pub fn of(data_type: &DataType) -> Option<Self> {
        use DataType::*;
        match data_type {
            Int8 | Int16 | Int32 | Int64 | Date32 | Date64 | Time32(_) | Time64(_) | Timestamp(..) | Duration(_) => {
                Some(Self::Signed)
            }
            UInt8 | UInt16 | UInt32 | UInt64 => Some(Self::Unsigned),
            Float64 => Some(Self::Float),
            _ => None,
        }
    }

    /// What DataFusion's `min` begins with. For doubles it is finite, so infinity is never a least value.
    fn greatest(self) -> u64 {
        match self {
            Self::Signed => i64::MAX as u64,
            Self::Unsigned => u64::MAX,
            Self::Float => f64::MAX.to_bits(),
        }
    }

    fn least(self) -> u64 {
        match self {
            Self::Signed => i64::MIN as u64,
            Self::Unsigned => u64::MIN,
            Self::Float => f64::MIN.to_bits(),
        }
    }
}

/// Counts the rows that pass a filter, or all.
#[derive(Debug)]
pub struct Counter {
    /// Index into [`crate::Rows::columns`].
    pub filter: Option<usize>,
    pub word: usize,
}

/// A column under a filter. Words are absent when no aggregate wants them, and one behind the other in this order.
#[derive(Debug)]
pub struct Lane {
    /// Index into [`crate::Rows::columns`].
    pub column: usize,
    pub counter: usize,
    /// None: its values are only counted.
    pub kind: Option<Kind>,
    pub sum: Option<usize>,
    pub min: Option<usize>,
    pub max: Option<usize>,
    /// Mean, and behind it the sum of squared deviations.
    pub moments: Option<usize>,
}

/// How the state and the value of an aggregate follow from its lane.
#[derive(Debug, Clone, PartialEq)]
pub struct Place {
    pub lane: usize,
    pub what: What,
    /// Of the value.
    pub data_type: DataType,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    Count,
    /// A sum, a least or a greatest value, in this word.
    Word(usize),
    /// Sum in this word by count.
    Mean(usize),
    /// Squared deviations behind this word by count.
    Spread {
        moments: usize,
        is_sample: bool,
        is_root: bool,
    },
}

#[derive(Debug, Default)]
pub struct Layout {
    pub counters: Vec<Counter>,
    pub lanes: Vec<Lane>,
    /// Row of a key without values.
    pub blank: Vec<u64>,
    /// How each of its words is to be read.
    pub kinds: Vec<Kind>,
    /// For each aggregate; none when it stays with DataFusion.
    pub places: Vec<Option<Place>>,
}

/// Which lanes and counters some of the aggregates need.
#[derive(Debug, Default)]
pub struct Wanted {
    pub lanes: Vec<usize>,
    pub counters: Vec<usize>,
}

impl Layout {
    pub fn of(aggregates: &[Aggregate]) -> Self {
        let mut layout = Self::default();
        let mut asked: Vec<Option<(usize, Ask)>> = Vec::new();
        for aggregate in aggregates {
            asked.push(Ask::of(aggregate).map(|ask| (layout.lane(aggregate), ask)));
        }
        // Those without a filter first.
        let mut order: Vec<usize> = (0..layout.counters.len()).collect();
        order.sort_by_key(|&counter| layout.counters[counter].filter.is_some());
        for counter in order {
            layout.counters[counter].word = layout.words(&[0], Kind::Unsigned);
            for lane in
                (0..layout.lanes.len()).filter(|&lane| layout.lanes[lane].counter == counter).collect::<Vec<_>>()
            {
                let asks = asked.iter().zip(aggregates).filter_map(|(asked, aggregate)| match *asked {
                    Some((of, ask)) if of == lane && ask != Ask::Count => {
                        Some((ask, Kind::of(&aggregate.data_type())?))
                    }
                    _ => None,
                });
                layout.give_words(lane, &asks.collect::<Vec<_>>());
            }
        }
        let places = aggregates.iter().zip(asked).map(|(aggregate, asked)| {
            let (lane, ask) = asked?;
            Some(Place { lane, what: ask.what(&layout.lanes[lane])?, data_type: aggregate.data_type() })
        });
        layout.places = places.collect();
        layout
    }

    /// Words of a key.
    pub fn width(&self) -> usize {
        self.blank.len()
    }

    pub fn is_native(&self, aggregate: usize) -> bool {
        self.places[aggregate].is_some()
    }

    pub fn has_place_for(aggregate: &Aggregate) -> bool {
        Ask::of(aggregate).is_some()
    }

    pub fn wanted(&self, aggregates: &[usize]) -> Wanted {
        let mut wanted = Wanted::default();
        for place in aggregates.iter().filter_map(|&index| self.places[index].as_ref()) {
            if !wanted.lanes.contains(&place.lane) {
                wanted.lanes.push(place.lane);
            }
            let counter = self.lanes[place.lane].counter;
            if !wanted.counters.contains(&counter) {
                wanted.counters.push(counter);
            }
        }
        wanted
    }

    fn lane(&mut self, aggregate: &Aggregate) -> usize {
        let (column, filter) = (aggregate.arguments[0], aggregate.filter);
        let counter = self.counters.iter().position(|known| known.filter == filter).unwrap_or_else(|| {
            self.counters.push(Counter { filter, word: 0 });
            self.counters.len() - 1
        });
        let known = self.lanes.iter().position(|lane| (lane.column, lane.counter) == (column, counter));
        known.unwrap_or_else(|| {
            self.lanes.push(Lane { column, counter, kind: None, sum: None, min: None, max: None, moments: None });
            self.lanes.len() - 1
        })
    }

    fn words(&mut self, begin: &[u64], kind: Kind) -> usize {
        self.blank.extend_from_slice(begin);
        self.kinds.resize(self.blank.len(), kind);
        self.blank.len() - begin.len()
    }

    /// All words of a lane, one behind the other.
    fn give_words(&mut self, lane: usize, asks: &[(Ask, Kind)]) {
        let Some(&(_, kind)) = asks.first() else { return };
        let is_asked = |is_it: fn(Ask) -> bool| asks.iter().any(|&(ask, _)| is_it(ask));
        let sum = is_asked(|ask| matches!(ask, Ask::Sum | Ask::Mean)).then(|| self.words(&[0], kind));
        let min = is_asked(|ask| ask == Ask::Min).then(|| self.words(&[kind.greatest()], kind));
        let max = is_asked(|ask| ask == Ask::Max).then(|| self.words(&[kind.least()], kind));
        let moments = is_asked(|ask| matches!(ask, Ask::Spread { .. })).then(|| self.words(&[0, 0], Kind::Float));
        let Lane { column, counter, .. } = self.lanes[lane];
        self.lanes[lane] = Lane { column, counter, kind: Some(kind), sum, min, max, moments };
    }
}

/// What an aggregate asks of its lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ask {
    Count,
    Sum,
    Min,
    Max,
    Mean,
    Spread { is_sample: bool, is_root: bool },
}

impl Ask {
    /// Where that is.
    fn what(self, lane: &Lane) -> Option<What> {
        Some(match self {
            Self::Count => What::Count,
            Self::Sum => What::Word(lane.sum?),
            Self::Min => What::Word(lane.min?),
            Self::Max => What::Word(lane.max?),
            Self::Mean => What::Mean(lane.sum?),
            Self::Spread { is_sample, is_root } => What::Spread { moments: lane.moments?, is_sample, is_root },
        })
    }

    /// None for what stays with DataFusion.
    fn of(aggregate: &Aggregate) -> Option<Self> {
        let (function, data_type) = (aggregate.expression.fun(), aggregate.data_type());
        if aggregate.arguments.len() != 1 || aggregate.expression.is_distinct() {
            return None;
        }
        // The functions themselves and not their names, which somebody else's may have.
        let spread = |is_sample, is_root| Some(Self::Spread { is_sample, is_root });
        if function.inner().is::<Count>() {
            return Some(Self::Count);
        } else if function.inner().is::<Sum>() {
            // Other sums are decimals and lengths of time.
            return matches!(data_type, DataType::Int64 | DataType::UInt64 | DataType::Float64).then_some(Self::Sum);
        } else if function.inner().is::<Min>() {
            return Kind::of(&data_type).map(|_| Self::Min);
        } else if function.inner().is::<Max>() {
            return Kind::of(&data_type).map(|_| Self::Max);
        } else if data_type != DataType::Float64 {
            return None;
        } else if function.inner().is::<Avg>() {
            return Some(Self::Mean);
        } else if function.inner().is::<Stddev>() {
            return spread(true, true);
        } else if function.inner().is::<StddevPop>() {
            return spread(false, true);
        } else if function.inner().is::<VarianceSample>() {
            return spread(true, false);
        } else if function.inner().is::<VariancePopulation>() {
            return spread(false, false);
        }
        None
    }
}

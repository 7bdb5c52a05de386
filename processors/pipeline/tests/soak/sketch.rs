//! A random stream and random views over it, as SQL.

use rand::{Rng, rngs::StdRng, seq::IndexedRandom};
use std::fmt::Write;

/// Types that a column may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    Text,
    Big,
    Small,
    Truth,
    Double,
    Real,
    Day,
    Time,
    Decimal,
}

#[derive(Debug, Clone)]
pub struct Column {
    pub name: String,
    pub data_type: Type,
}

/// How an aggregate's results are compared with DataFusion's over the raw rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compared {
    /// Every bit.
    Exactly,
    /// Floats that were added in another order.
    Closely,
    /// Not: it is defined by the order of merging. It still has to be the same in every run.
    Not,
}

#[derive(Debug, Clone)]
pub struct View {
    pub name: String,
    pub keys: Vec<String>,
    pub slide_ms: i64,
    pub size_ms: i64,
    pub aggregates: Vec<(String, Compared)>,
    pub filter: Option<String>,
    pub having: Option<String>,
}

/// Windows over a view's windows.
#[derive(Debug, Clone)]
pub struct Above {
    /// Of the view below.
    pub view: usize,
    pub of_end: bool,
    pub slide_ms: i64,
    pub size_ms: i64,
}

#[derive(Debug, Clone)]
pub struct Sketch {
    /// The first is the partition key.
    pub keys: Vec<Column>,
    pub values: Vec<Column>,
    pub lateness_ms: i64,
    pub idle_ms: Option<i64>,
    /// How often panes are sealed.
    pub replay_max_ms: i64,
    pub views: Vec<View>,
    pub above: Option<Above>,
}

/// Distinct for each record of a case, so that `ORDER BY` has no ties.
pub const ID: &str = "id";
/// Windows are cut short here: a row that is in thousands of them says no more than one in a hundred.
const OVERLAPS_MAX: i64 = 60;

impl Type {
    pub fn sql(self) -> &'static str {
        match self {
            Self::Text => "VARCHAR",
            Self::Big => "BIGINT",
            Self::Small => "SMALLINT",
            Self::Truth => "BOOLEAN",
            Self::Double => "DOUBLE",
            Self::Real => "REAL",
            Self::Day => "DATE",
            Self::Time => "TIMESTAMP",
            Self::Decimal => "DECIMAL(12, 2)",
        }
    }

    fn is_number(self) -> bool {
        matches!(self, Self::Big | Self::Small | Self::Double | Self::Real | Self::Decimal)
    }
}

impl Sketch {
    pub fn random(random: &mut StdRng) -> Self {
        const KEYS: [Type; 6] = [Type::Text, Type::Text, Type::Big, Type::Truth, Type::Day, Type::Decimal];
        const VALUES: [Type; 9] = [
            Type::Text,
            Type::Big,
            Type::Small,
            Type::Truth,
            Type::Double,
            Type::Real,
            Type::Day,
            Type::Time,
            Type::Decimal,
        ];
        let columns = |random: &mut StdRng, prefix: &str, count: usize, of: &[Type]| -> Vec<Column> {
            let column =
                |index| Column { name: format!("{prefix}{index}"), data_type: *of.choose(random).expect("some") };
            (0..count).map(column).collect()
        };
        let key_count = random.random_range(1..=3);
        let keys = columns(random, "k", key_count, &KEYS);
        let value_count = random.random_range(1..=5);
        let mut values = columns(random, "v", value_count, &VALUES);
        values.push(Column { name: ID.into(), data_type: Type::Big });
        let view_count = random.random_range(1..=3);
        let views = (0..view_count).map(|index| View::random(index, &keys, &values, random)).collect();
        let above = random.random_bool(0.35).then(|| {
            let (slide_ms, size_ms) = window(random);
            Above { view: 0, of_end: random.random(), slide_ms, size_ms }
        });
        Self {
            keys,
            values,
            lateness_ms: *[1, 1, 50, 400, 1_000, 5_000].choose(random).expect("some"),
            idle_ms: *[None, Some(700), Some(3_000)].choose(random).expect("some"),
            replay_max_ms: *[250, 1_000, 4_000, 300_000].choose(random).expect("some"),
            views,
            above,
        }
    }

    pub fn columns(&self) -> impl Iterator<Item = &Column> {
        self.keys.iter().chain(&self.values)
    }

    /// The stream and the views; nothing is inserted, the views are collected.
    pub fn sql(&self) -> String {
        let mut sql = String::from("CREATE EXTERNAL TABLE ev (t TIMESTAMP");
        for column in self.columns() {
            write!(sql, ", {} {}", column.name, column.data_type.sql()).expect("written");
        }
        let idle = self.idle_ms.map_or(String::new(), |idle_ms| format!(", idle '{idle_ms}ms'"));
        let (lateness_ms, replay_max_ms) = (self.lateness_ms, self.replay_max_ms);
        writeln!(
            sql,
            ") STORED AS JSON LOCATION 'ev-topic'\n  OPTIONS (event_time 't', lateness '{lateness_ms}ms'{idle}, \
             replay_max '{replay_max_ms}ms', partition_key 'k0');"
        )
        .expect("written");
        for view in &self.views {
            writeln!(sql, "CREATE VIEW {} AS {};", view.name, view.select("ev", &view.hop("t"))).expect("written");
        }
        if let Some(above) = &self.above {
            let (bound, below) = (if above.of_end { "end" } else { "start" }, &self.views[above.view]);
            let hop = hop(&format!("win.{bound}"), above.slide_ms, above.size_ms);
            writeln!(sql, "CREATE VIEW above AS {};", below.select_above(&below.name, &hop)).expect("written");
        }
        sql
    }

    /// Of all views, in the order of their names in [`Self::sql`].
    pub fn names(&self) -> Vec<String> {
        let names = self.views.iter().map(|view| view.name.clone());
        names.chain(self.above.iter().map(|_| "above".to_owned())).collect()
    }
}

fn hop(time: &str, slide_ms: i64, size_ms: i64) -> String {
    format!("hop({time}, INTERVAL '{slide_ms} milliseconds', INTERVAL '{size_ms} milliseconds')")
}

/// Slide and size: side by side, with gaps, overlapping, the slide dividing the size or not.
fn window(random: &mut StdRng) -> (i64, i64) {
    let slide_ms = *[30, 70, 100, 250, 500, 700, 1_000, 1_500, 3_600].choose(random).expect("some");
    let size_ms = match random.random_range(0..6) {
        0 => slide_ms,
        1 => random.random_range(1..=slide_ms),
        2 => slide_ms * random.random_range(2..=6),
        3 => slide_ms * random.random_range(7..=OVERLAPS_MAX),
        _ => slide_ms + random.random_range(1..slide_ms * 5),
    };
    (slide_ms, size_ms)
}

impl View {
    fn random(index: usize, keys: &[Column], values: &[Column], random: &mut StdRng) -> Self {
        let mut by: Vec<String> = vec![keys[0].name.clone()];
        by.extend(keys[1..].iter().filter(|_| random.random_bool(0.5)).map(|key| key.name.clone()));
        let (slide_ms, size_ms) = window(random);
        let count = random.random_range(1..=6);
        // The views above add it up.
        let mut aggregates = vec![("count(*)".to_owned(), Compared::Exactly)];
        aggregates.extend((0..count).map(|_| aggregate(values, random)));
        let filter = random.random_bool(0.3).then(|| condition(values, random));
        let having = random.random_bool(0.15).then(|| "count(*) > 1".to_owned());
        Self { name: format!("view{index}"), keys: by, slide_ms, size_ms, aggregates, filter, having }
    }

    pub fn hop(&self, time: &str) -> String {
        hop(time, self.slide_ms, self.size_ms)
    }

    /// This view over a table; `window` is what is grouped by as `win`.
    pub fn select(&self, from: &str, window: &str) -> String {
        let keys = self.keys.join(", ");
        let mut sql = format!("SELECT {keys}, {window} AS win");
        for (index, (aggregate, _)) in self.aggregates.iter().enumerate() {
            write!(sql, ", {aggregate} AS a{index}").expect("written");
        }
        write!(sql, " FROM {from}").expect("written");
        if let Some(filter) = &self.filter {
            write!(sql, " WHERE {filter}").expect("written");
        }
        write!(sql, " GROUP BY {keys}, win").expect("written");
        if let Some(having) = &self.having {
            write!(sql, " HAVING {having}").expect("written");
        }
        sql
    }

    /// The view over this one's windows.
    pub fn select_above(&self, from: &str, window: &str) -> String {
        let key = &self.keys[0];
        format!(
            "SELECT {key}, {window} AS later, count(*) AS a0, sum(a0) AS a1, max(a0) AS a2 FROM {from} GROUP BY {key}, later"
        )
    }
}

fn condition(values: &[Column], random: &mut StdRng) -> String {
    let column = values.choose(random).expect("some");
    let name = &column.name;
    match column.data_type {
        Type::Text => format!("{name} > 'b'"),
        Type::Truth => name.clone(),
        Type::Day => format!("{name} > DATE '2026-03-02'"),
        Type::Time => format!("{name} IS NOT NULL"),
        _ if name == ID => format!("{name} % 3 <> 1"),
        _ => format!("{name} > 1"),
    }
}

fn aggregate(values: &[Column], random: &mut StdRng) -> (String, Compared) {
    use Compared::{Closely, Exactly, Not};
    let column = values.choose(random).expect("some");
    let (x, data_type) = (&column.name, column.data_type);
    let mut choices = vec![
        (format!("count({x})"), Exactly),
        (format!("count(DISTINCT {x})"), Exactly),
        (format!("hll_distinct({x})"), Exactly),
        (format!("min({x})"), Exactly),
        (format!("max({x})"), Exactly),
        (format!("first_value({x} ORDER BY {ID})"), Exactly),
        (format!("last_value({x} ORDER BY {ID})"), Exactly),
        (format!("nth_value({x}, 2 ORDER BY {ID} DESC)"), Exactly),
        (format!("array_to_string(array_agg({ID} ORDER BY {x}, {ID}), ',')"), Exactly),
    ];
    if data_type.is_number() {
        let mean = if data_type == Type::Decimal { Exactly } else { Closely };
        choices.extend([
            (format!("sum({x})"), if matches!(data_type, Type::Double | Type::Real) { Closely } else { Exactly }),
            (format!("avg({x})"), mean),
            (format!("stddev({x})"), Closely),
            (format!("var_pop({x})"), Closely),
            (format!("median({x})"), Exactly),
            (format!("percentile_cont(0.3) WITHIN GROUP (ORDER BY {x})"), Closely),
            (format!("ddsketch_quantile({x}, 0.9)"), Closely),
            (format!("approx_percentile_cont(0.9) WITHIN GROUP (ORDER BY CAST({x} AS DOUBLE))"), Not),
            (format!("covar_samp({x}, {ID})"), Closely),
        ]);
    }
    match data_type {
        Type::Big | Type::Small => choices.extend([
            (format!("sum(DISTINCT {x})"), Exactly),
            (format!("bit_xor({x})"), Exactly),
            (format!("bit_and({x})"), Exactly),
        ]),
        Type::Truth => choices.extend([(format!("bool_and({x})"), Exactly), (format!("bool_or({x})"), Exactly)]),
        Type::Text => choices.extend([
            (format!("string_agg({x}, '-' ORDER BY {ID})"), Exactly),
            (format!("array_to_string(array_agg({x}), ',')"), Not),
        ]),
        _ => {}
    }
    let (text, compared) = choices.choose(random).expect("some").clone();
    // A filter stands behind the aggregate itself, so not behind a function around it.
    if text.starts_with("array_to_string") || random.random_bool(0.75) {
        return (text, compared);
    }
    (format!("{text} FILTER (WHERE {})", condition(values, random)), compared)
}

//! By which columns the groups of a query's windows may be spread over partitions, so that each partition computes its part
//! of the result by itself.
//!
//! Every step above the windows narrows it down: an aggregate wants its rows together by what it groups by, a join by what
//! it equates, a ranking by what it ranks within; a limit over all rows wants all of them in one place. What is left is a
//! choice of group columns for each windowed view, equal where views meet. Deliberately not here: moving anything.
//! Limits: columns that are passed on unchanged; what is computed from them is not followed, and more is gathered then than
//! would have to be.

use super::{
    cut::{cut, slot_of},
    expressions::has_subquery,
    lineage::base_column,
    panes::Around,
    rowwise::two_streams,
};
use amoskys_functions::{
    fault::{Fault, refuse},
    window::{WindowCall, at_window},
};
use datafusion::{
    common::{JoinType, tree_node::TreeNodeRecursion},
    error::Result,
    logical_expr::{Aggregate as AggregatePlan, Distinct, Expr, Join, LogicalPlan, TableScan},
};
use std::collections::{BTreeMap, BTreeSet};

/// A windowed view over rows of a stream, and which of its key columns (group columns but the window) decide where a
/// group is computed; none: all groups in one place.
#[derive(Debug, Clone, PartialEq)]
pub struct Spread {
    pub aggregate: AggregatePlan,
    pub stream: String,
    pub key: Vec<usize>,
}

/// Where a query is computed.
#[derive(Debug, Clone, PartialEq)]
pub enum Distribution {
    /// On the partitions of this stream as they are.
    Local(String),
    /// On partitions that its windows' groups are sent to.
    Shuffled(Vec<Spread>),
}

/// Of an analysed query with windows.
pub fn distribute(query: &LogicalPlan, around: Around<'_>) -> Result<Distribution> {
    let mut search = Search { around, leaves: Vec::new(), elements: Vec::new(), wanted: Vec::new(), gather: false };
    search.query(query)?;
    let classes = search.classes();
    if let Some(stream) = search.local(&classes) {
        return Ok(Distribution::Local(stream));
    }
    let spread = search.leaves.iter().enumerate().map(|(index, leaf)| Spread {
        aggregate: leaf.aggregate.clone(),
        stream: leaf.stream.clone(),
        key: classes.iter().filter_map(|class| class.get(&index)?.first().copied()).collect(),
    });
    Ok(Distribution::Shuffled(spread.collect()))
}

/// A windowed aggregate over rows of a stream.
struct Leaf {
    aggregate: AggregatePlan,
    stream: String,
    /// The key columns that are the stream's partition key.
    partition_keys: Vec<usize>,
}

/// A key column of a leaf.
struct Element {
    leaf: usize,
    key: usize,
    /// Another element that has the same value in every row, or itself.
    same_as: usize,
}

/// Columns that are equal: for each leaf its key columns among them.
type Class = BTreeMap<usize, Vec<usize>>;

struct Search<'a> {
    around: Around<'a>,
    leaves: Vec<Leaf>,
    elements: Vec<Element>,
    /// For each step that wants rows together: the elements it allows.
    wanted: Vec<Vec<usize>>,
    gather: bool,
}

/// What a plan's rows say of where they are.
struct Shape {
    /// For each column the element that it is.
    columns: Vec<Option<usize>>,
    leaves: BTreeSet<usize>,
}

impl Shape {
    /// Rows that are the same everywhere.
    fn anywhere(plan: &LogicalPlan) -> Self {
        Self { columns: vec![None; plan.schema().fields().len()], leaves: BTreeSet::new() }
    }

    fn is_anywhere(&self) -> bool {
        self.leaves.is_empty()
    }

    fn column(&self, plan: &LogicalPlan, expression: &Expr) -> Option<usize> {
        match expression {
            Expr::Alias(alias) => self.column(plan, &alias.expr),
            Expr::Column(column) => self.columns[plan.schema().maybe_index_of_column(column)?],
            _ => None,
        }
    }

    fn all(&self, plan: &LogicalPlan, expressions: &[Expr]) -> Vec<Option<usize>> {
        expressions.iter().map(|expression| self.column(plan, expression)).collect()
    }
}

impl Search<'_> {
    /// A query and the windows below it; each aggregate of the cut stands where its slot is scanned.
    fn query(&mut self, query: &LogicalPlan) -> Result<Shape> {
        let parts = cut(query.clone())?;
        let above = self.around.guard.context.state().optimize(&parts.above)?;
        let mut slots = Vec::new();
        for (aggregate, _) in &parts.aggregates {
            slots.push(self.windowed(aggregate)?);
        }
        self.walk(&above, &slots)
    }

    /// The shape of a windowed aggregate's rows.
    fn windowed(&mut self, aggregate: &AggregatePlan) -> Result<Shape> {
        let known = self.leaves.iter().position(|leaf| leaf.aggregate == *aggregate);
        if super::cut::contains_window(&aggregate.input)? {
            let inner = self.query(&aggregate.input)?;
            return Ok(self.grouped(aggregate, &inner));
        }
        let leaf = match known {
            Some(known) => known,
            None => self.leaf(aggregate)?,
        };
        let mut keys = self.elements.iter().enumerate().filter(|(_, element)| element.leaf == leaf);
        let mut columns: Vec<Option<usize>> = vec![None; aggregate.schema.fields().len()];
        for (column, expression) in columns.iter_mut().zip(&aggregate.group_expr) {
            if WindowCall::parse(expression).is_none() {
                *column = keys.next().map(|(index, _)| index);
            }
        }
        Ok(Shape { columns, leaves: BTreeSet::from([leaf]) })
    }

    fn leaf(&mut self, aggregate: &AggregatePlan) -> Result<usize> {
        let stream = self.stream_of(aggregate)?;
        let is_partition_key = |expression: &Expr| {
            base_column(&aggregate.input, expression).is_some_and(|(table, column)| {
                table == stream && self.around.streams[&stream].partition_key.as_ref() == Some(&column)
            })
        };
        let keys = aggregate.group_expr.iter().filter(|expression| WindowCall::parse(expression).is_none());
        let keys: Vec<bool> = keys.map(is_partition_key).collect();
        let leaf = self.leaves.len();
        for key in 0..keys.len() {
            self.elements.push(Element { leaf, key, same_as: self.elements.len() });
        }
        let partition_keys = keys.iter().enumerate().filter(|(_, is_key)| **is_key).map(|(key, _)| key).collect();
        self.leaves.push(Leaf { aggregate: aggregate.clone(), stream, partition_keys });
        Ok(leaf)
    }

    fn stream_of(&self, aggregate: &AggregatePlan) -> Result<String> {
        let mut names = BTreeSet::new();
        aggregate.input.apply_with_subqueries(|node| {
            if let LogicalPlan::TableScan(TableScan { table_name, .. }) = node
                && self.around.streams.contains_key(table_name.table())
            {
                names.insert(table_name.table().to_owned());
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
        match names.into_iter().collect::<Vec<_>>().as_slice() {
            [name] => Ok(name.clone()),
            [] => {
                let fault = Fault::new("the window is over a file, not a stream");
                refuse(at_window(fault.help("INSERT needs a stream to follow")))
            }
            [one, other, ..] => refuse(two_streams(one, other)),
        }
    }

    fn walk(&mut self, plan: &LogicalPlan, slots: &[Shape]) -> Result<Shape> {
        self.gather |= plan.expressions().iter().any(has_subquery);
        Ok(match plan {
            LogicalPlan::TableScan(scan) => scanned(plan, scan, slots),
            LogicalPlan::Projection(node) => {
                let input = self.walk(&node.input, slots)?;
                Shape { columns: input.all(&node.input, &node.expr), leaves: input.leaves }
            }
            LogicalPlan::Filter(node) => self.walk(&node.input, slots)?,
            LogicalPlan::SubqueryAlias(node) => self.walk(&node.input, slots)?,
            LogicalPlan::Sort(node) => {
                let input = self.walk(&node.input, slots)?;
                self.gather |= node.fetch.is_some() && !input.is_anywhere();
                input
            }
            LogicalPlan::Limit(node) => {
                let input = self.walk(&node.input, slots)?;
                self.gather |= !input.is_anywhere();
                input
            }
            LogicalPlan::Aggregate(node) => {
                let input = self.walk(&node.input, slots)?;
                self.grouped(node, &input)
            }
            LogicalPlan::Distinct(Distinct::All(below)) => {
                let input = self.walk(below, slots)?;
                self.want(&input, input.columns.clone());
                input
            }
            LogicalPlan::Distinct(Distinct::On(node)) => {
                let input = self.walk(&node.input, slots)?;
                self.want(&input, input.all(&node.input, &node.on_expr));
                Shape { columns: input.all(&node.input, &node.select_expr), leaves: input.leaves }
            }
            LogicalPlan::Window(node) => {
                let mut input = self.walk(&node.input, slots)?;
                for expression in &node.window_expr {
                    let within = match expression {
                        Expr::WindowFunction(call) => input.all(&node.input, &call.params.partition_by),
                        _ => Vec::new(),
                    };
                    self.want(&input, within);
                }
                input.columns.resize(node.schema.fields().len(), None);
                input
            }
            LogicalPlan::Union(node) => {
                let inputs: Vec<Shape> =
                    node.inputs.iter().map(|input| self.walk(input, slots)).collect::<Result<_>>()?;
                self.united(inputs)
            }
            LogicalPlan::Join(join) => {
                let (left, right) = (self.walk(&join.left, slots)?, self.walk(&join.right, slots)?);
                self.joined(join, left, right)
            }
            other => {
                let inputs: Vec<Shape> =
                    other.inputs().into_iter().map(|input| self.walk(input, slots)).collect::<Result<_>>()?;
                let leaves: BTreeSet<usize> = inputs.into_iter().flat_map(|input| input.leaves).collect();
                self.gather |= !leaves.is_empty();
                Shape { leaves, ..Shape::anywhere(other) }
            }
        })
    }

    fn grouped(&mut self, aggregate: &AggregatePlan, input: &Shape) -> Shape {
        let mut columns = input.all(&aggregate.input, &aggregate.group_expr);
        self.want(input, columns.clone());
        columns.resize(aggregate.schema.fields().len(), None);
        Shape { columns, leaves: input.leaves.clone() }
    }

    fn united(&mut self, inputs: Vec<Shape>) -> Shape {
        let leaves: BTreeSet<usize> = inputs.iter().flat_map(|input| input.leaves.iter().copied()).collect();
        let width = inputs.first().map_or(0, |input| input.columns.len());
        // A leaf in two branches may have its columns in two places, of which one is chosen: not followed.
        let count: usize = inputs.iter().map(|input| input.leaves.len()).sum();
        let is_followed = count == leaves.len();
        // Rows that are everywhere would come once from each partition.
        self.gather |= !leaves.is_empty() && inputs.iter().any(Shape::is_anywhere);
        let columns = (0..width).map(|column| {
            let mut branches = inputs.iter().map(|input| input.columns[column]);
            let first = branches.next().flatten().filter(|_| is_followed)?;
            let others: Option<Vec<usize>> = branches.collect();
            others?.into_iter().for_each(|other| self.unite(first, other));
            Some(first)
        });
        Shape { columns: columns.collect(), leaves }
    }

    fn joined(&mut self, join: &Join, left: Shape, right: Shape) -> Shape {
        use JoinType::{Full, Inner, Left, LeftAnti, LeftMark, LeftSemi, Right, RightAnti, RightMark, RightSemi};
        if !left.is_anywhere() && !right.is_anywhere() {
            let pairs = join
                .on
                .iter()
                .map(|(one, other)| Some((left.column(&join.left, one)?, right.column(&join.right, other)?)));
            let pairs: Vec<(usize, usize)> = pairs.flatten().collect();
            pairs.iter().for_each(|&(one, other)| self.unite(one, other));
            self.wanted.push(pairs.into_iter().map(|(one, _)| one).collect());
        }
        let (keeps_left, keeps_right) = match join.join_type {
            Inner => (false, false),
            Left | LeftSemi | LeftAnti | LeftMark => (true, false),
            Right | RightSemi | RightAnti | RightMark => (false, true),
            Full => (true, true),
        };
        // Kept rows of a table that is the same everywhere would come once from each partition.
        self.gather |= (keeps_left && left.is_anywhere() && !right.is_anywhere())
            || (keeps_right && right.is_anywhere() && !left.is_anywhere());
        let leaves: BTreeSet<usize> = left.leaves.union(&right.leaves).copied().collect();
        // A side that may be missing gives nulls that say nothing of where a row is.
        let hidden = |shape: Shape, is_hidden: bool| {
            if is_hidden { vec![None; shape.columns.len()] } else { shape.columns }
        };
        let columns = match join.join_type {
            Inner => [left.columns, right.columns].concat(),
            Left | Right | Full => {
                let (hide_left, hide_right) = (join.join_type != Left, join.join_type != Right);
                [hidden(left, hide_left), hidden(right, hide_right)].concat()
            }
            LeftSemi | LeftAnti => left.columns,
            RightSemi | RightAnti => right.columns,
            LeftMark => [left.columns, vec![None]].concat(),
            RightMark => [right.columns, vec![None]].concat(),
        };
        Shape { columns, leaves }
    }

    /// Rows that are equal in these columns have to be in one place.
    fn want(&mut self, input: &Shape, columns: Vec<Option<usize>>) {
        if !input.is_anywhere() {
            self.wanted.push(columns.into_iter().flatten().collect());
        }
    }

    fn unite(&mut self, one: usize, other: usize) {
        let (one, other) = (self.root(one), self.root(other));
        self.elements[one.max(other)].same_as = one.min(other);
    }

    fn root(&self, element: usize) -> usize {
        let same_as = self.elements[element].same_as;
        if same_as == element { element } else { self.root(same_as) }
    }

    /// The classes that all steps allow and that every leaf has a column of.
    fn classes(&self) -> Vec<Class> {
        if self.gather {
            return Vec::new();
        }
        let mut classes: BTreeMap<usize, Class> = BTreeMap::new();
        for (index, element) in self.elements.iter().enumerate() {
            classes.entry(self.root(index)).or_default().entry(element.leaf).or_default().push(element.key);
        }
        let allows = |wanted: &Vec<usize>, root: usize| wanted.iter().any(|&element| self.root(element) == root);
        classes.retain(|root, class| {
            class.len() == self.leaves.len() && self.wanted.iter().all(|wanted| allows(wanted, *root))
        });
        classes.into_values().collect()
    }

    /// The one stream whose partitions each hold whole groups, and all of what these are joined with.
    fn local(&self, classes: &[Class]) -> Option<String> {
        let stream = &self.leaves.first()?.stream;
        let is_partition_key = |class: &Class| {
            self.leaves.iter().enumerate().all(|(index, leaf)| {
                class.get(&index).is_some_and(|keys| keys.iter().any(|key| leaf.partition_keys.contains(key)))
            })
        };
        let is_local = self.leaves.iter().all(|leaf| leaf.stream == *stream) && classes.iter().any(is_partition_key);
        is_local.then(|| stream.clone())
    }
}

/// A slot's columns, as far as the scan has them; a table of rows that are the same everywhere.
fn scanned(plan: &LogicalPlan, scan: &TableScan, slots: &[Shape]) -> Shape {
    let number = slot_of(scan.table_name.table());
    let Some(slot) = number.and_then(|number| slots.get(number)) else { return Shape::anywhere(plan) };
    let columns = match &scan.projection {
        Some(places) => places.iter().map(|&place| slot.columns[place]).collect(),
        None => slot.columns.clone(),
    };
    Shape { columns, leaves: slot.leaves.clone() }
}

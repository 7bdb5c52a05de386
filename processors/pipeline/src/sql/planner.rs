//! Plans all statements of all files together, in the order in which they need each other.

mod order;
mod tables;
mod warning;

use super::{
    Annotations, Dataflow, Insert, Problem, Problems, Query, Sink, Sources, Statement, Stream,
    alert::{check_values, lacking},
    anchor,
    catalog::nearest_of_all,
    cut::cut,
    definitions::{Kind, detection_of, file_stem, inserts_called, kind, name_of, table_of, with_place},
    diagnose, explain,
    explained::with_explained,
    expressions::refuse_impossible,
    fitted::FittedFiles,
    flows::{Flows, reads_stream, refuse_never},
    format::Format,
    guard::{Failures, Guard},
    insert::{check_encoder, match_sink, rename},
    meaningless::refuse_meaningless,
    panes::{Around, NamedWindow, rehearse},
    probes::{Probe, ProbePlace, probes, read_of_streams},
    rowwise::RowProgram,
    session::session,
    simplify::simplified,
    statics::StaticTable,
    warnings,
};
use amoskys_functions::{
    fault::{Fault, refuse},
    model::{Lookup, models_of},
};
use arrow::datatypes::SchemaRef;
use datafusion::{
    common::TableReference,
    datasource::ViewTable,
    error::{DataFusionError, Result},
    logical_expr::{DdlStatement, LogicalPlan},
    prelude::SessionContext,
    sql::{parser::Statement as Ast, sqlparser::ast},
};
use futures::executor::block_on;
use prost_reflect::DescriptorPool;
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    sync::Arc,
};

/// What planning needs to know besides the SQL.
pub struct Options {
    /// Messages that `ENVELOPE` and `PROTOBUF` tables may name.
    pub pool: DescriptorPool,
    pub models: Arc<Lookup>,
    pub wanted: Wanted,
}

/// What is computed of all that the SQL says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// Every INSERT, as a processor does.
    Inserts,
    /// These alone: views, whose rows are handed to the caller, and tables, for what is inserted into them.
    Rows(Vec<String>),
    /// Every INSERT, and these views.
    All(Vec<String>),
    /// Every INSERT, and the views of streams that none reads, so that every fault is found.
    Everything,
    /// The INSERTs of this file or detection, or the view, with what every condition on the way sees.
    Why {
        name: String,
        /// Columns of streams that are asked of, beside those that the SQL reads.
        columns: BTreeSet<String>,
    },
}

/// Plans everything; every problem of every statement is reported.
pub fn plan(sources: &Sources, options: &Options) -> Result<Dataflow, Problems> {
    let mut planner = Planner::new(sources, options);
    let names = planner.names();
    let order = planner.order(&names);
    for &index in &order {
        planner.define(index);
    }
    planner.plan_inserts(&order);
    planner.plan_collected();
    planner.finish()
}

struct Planner<'a> {
    sources: &'a Sources,
    statements: &'a [Statement],
    options: &'a Options,
    context: SessionContext,
    fitted: FittedFiles,
    streams: BTreeMap<String, Stream>,
    /// Statements that each statement reads, itself included.
    reads: Vec<BTreeSet<usize>>,
    /// Statements that failed, or need one that did.
    broken: BTreeSet<usize>,
    statics: Vec<Arc<StaticTable>>,
    /// Windowed aggregates by the view that they stand in.
    named: Vec<NamedWindow>,
    failures: Arc<Failures>,
    /// Texts compared with numbers, by statement.
    compared: BTreeMap<usize, Vec<String>>,
    flows: Flows,
    problems: Vec<Problem>,
    warnings: Vec<Problem>,
    probes: Vec<Probe>,
    /// INSERTs of which is asked why.
    called: BTreeSet<usize>,
}

impl<'a> Planner<'a> {
    fn new(sources: &'a Sources, options: &'a Options) -> Self {
        let (statements, fitted) = (sources.statements.as_slice(), FittedFiles::default());
        Self {
            sources,
            statements,
            options,
            context: session(&options.models, &fitted),
            fitted,
            streams: BTreeMap::new(),
            reads: vec![BTreeSet::new(); statements.len()],
            broken: BTreeSet::new(),
            statics: Vec::new(),
            named: Vec::new(),
            failures: Arc::default(),
            compared: BTreeMap::new(),
            flows: Flows::default(),
            problems: sources.problems.clone(),
            warnings: Vec::new(),
            probes: Vec::new(),
            called: match &options.wanted {
                Wanted::Why { name, .. } => inserts_called(statements, name),
                _ => BTreeSet::new(),
            },
        }
    }

    /// Where the fault's words stand, or at the statement's name.
    fn fail(&mut self, index: usize, fault: Fault) {
        self.fail_at(index, anchor::of(self.statements[index].text(), &fault), fault);
    }

    /// `within`: bytes of the statement's text.
    fn fail_at(&mut self, index: usize, within: Range<usize>, fault: Fault) {
        self.broken.insert(index);
        self.problems.push(Problem::new(Some(self.statements[index].place(within)), fault));
    }

    /// A group has one position for each partition of a topic, so one stream reads it.
    fn refuse_shared_topics(&mut self) {
        let mut first: BTreeMap<String, String> = BTreeMap::new();
        for index in 0..self.statements.len() {
            let Kind::Table(name) = kind(&self.statements[index]) else { continue };
            let Some(stream) = self.streams.get(&name).filter(|_| self.flows.read(&name)) else { continue };
            if let Some(other) = first.get(&stream.topic) {
                let fault =
                    Fault::new(format!("`{name}` reads topic '{}', which `{other}` reads already", stream.topic))
                        .help(format!("read it by `{other}`, whose columns may be those of both"))
                        .at(format!("'{}'", stream.topic));
                self.fail(index, fault);
            } else {
                first.insert(stream.topic.clone(), name);
            }
        }
    }

    /// All that is found wrong with a statement that did not plan.
    fn fail_by(&mut self, index: usize, error: &DataFusionError) {
        for (within, fault) in diagnose::faults(&self.statements[index], error, &self.context.state()) {
            self.fail_at(index, within, fault);
        }
    }

    /// What is found wrong with a statement although not all that it reads is there.
    fn fail_in_part(&mut self, index: usize) {
        for (within, fault) in diagnose::of_expressions(&self.statements[index], &self.context.state()) {
            self.fail_at(index, within, fault);
        }
    }

    /// Whether the statement, or one that it reads, has been reported.
    fn is_broken(&self, index: usize) -> bool {
        self.broken.contains(&index) || !self.reads[index].is_disjoint(&self.broken)
    }

    fn define(&mut self, index: usize) {
        if self.is_broken(index) {
            return self.fail_in_part(index);
        }
        let result = match kind(&self.statements[index]) {
            Kind::Table(name) => self.define_table(index, &name),
            Kind::View(name) => self.define_view(index, &name),
            Kind::Insert(_) | Kind::Other => Ok(()),
        };
        if let Err(error) = result {
            self.fail_by(index, &error);
        }
    }

    fn define_view(&mut self, index: usize, name: &str) -> Result<()> {
        let LogicalPlan::Ddl(DdlStatement::CreateView(view)) = self.logical(&self.statements[index].ast.clone())?
        else {
            return Err(DataFusionError::Plan("is no CREATE VIEW".into()));
        };
        // Models and types are checked here, so that the fault is reported at the view and not at what reads it.
        let analyzed = self.analyze(view.input.as_ref().clone())?;
        self.warn_of_comparisons(index, &view.input)?;
        // As the queries that read it will have them.
        let parts = cut(simplified(analyzed, &self.context)?)?;
        let query = with_place(&self.statements[index]);
        let guard = Guard { context: &self.context, query: &query, failures: &self.failures };
        let around = Around { streams: &self.streams, named: &self.named, guard };
        if parts.aggregates.is_empty() && reads_stream(&parts.above, around)? {
            // What can never be computed is told of at the view, not at what reads it.
            let optimized = self.context.state().optimize(&parts.above)?;
            refuse_never(&parts.above, &optimized, around)?;
            RowProgram::compile(&optimized, &self.streams, guard)?;
        }
        for (aggregate, _) in &parts.aggregates {
            refuse_never(&aggregate.input, &self.context.state().optimize(&aggregate.input)?, around)?;
            rehearse(aggregate, guard)?;
        }
        let aggregates: Vec<_> = parts.aggregates.into_iter().map(|(aggregate, _)| aggregate).collect();
        self.warn_of_new(index, &aggregates)?;
        let named = |aggregate| NamedWindow { aggregate, view: name.to_owned(), query: query.clone() };
        self.named.extend(aggregates.into_iter().map(named));
        let table = ViewTable::new(view.input.as_ref().clone(), view.definition.clone());
        self.context.register_table(TableReference::bare(name), Arc::new(table))?;
        Ok(())
    }

    fn logical(&self, ast: &Ast) -> Result<LogicalPlan> {
        refuse_meaningless(ast)?;
        block_on(self.context.state().statement_to_plan(ast.clone()))
    }

    fn analyze(&self, plan: LogicalPlan) -> Result<LogicalPlan> {
        let state = self.context.state();
        refuse_impossible(&plan)?;
        state.analyzer().execute_and_check(plan, state.config_options(), |_, _| {})
    }

    fn plan_inserts(&mut self, order: &[usize]) {
        let mut inserts: Vec<usize> = order.iter().copied().filter(|&index| !self.is_broken(index)).collect();
        inserts.sort_unstable();
        for index in inserts {
            if let Kind::Insert(insert) = kind(&self.statements[index])
                && self.wants(index, insert)
                && let Err(error) = self.plan_insert(index, insert)
            {
                self.fail_by(index, &error);
            }
        }
    }

    fn wants(&self, index: usize, insert: &ast::Insert) -> bool {
        match &self.options.wanted {
            Wanted::Inserts | Wanted::All(_) | Wanted::Everything => true,
            Wanted::Rows(names) => table_of(insert).is_some_and(|name| names.contains(&name)),
            Wanted::Why { .. } => self.called.contains(&index),
        }
    }

    fn plan_insert(&mut self, index: usize, insert: &ast::Insert) -> Result<()> {
        let Some(name) = table_of(insert) else {
            return Err(DataFusionError::Plan("INSERT INTO takes the name of a table".into()));
        };
        const INTO: &str =
            "insert into a CREATE EXTERNAL TABLE … STORED AS PROTOBUF, JSON or ARROW (files: PARQUET or CSV)";
        let Some(sink) = self.streams.get(&name).cloned() else {
            return refuse(Fault::new(format!("`{name}` is no table that can be inserted into")).help(INTO));
        };
        let only = match sink.format {
            Format::Envelope { .. } => Some("ENVELOPE, which only agents write"),
            Format::Avro { .. } => Some("AVRO, which is only read"),
            _ => None,
        };
        if let Some(only) = only {
            return refuse(Fault::new(format!("`{name}` is STORED AS {only}")).help(INTO));
        }
        if matches!(insert.source.as_deref().map(|query| query.body.as_ref()), Some(ast::SetExpr::Values(_))) {
            let fault = Fault::new("VALUES are no stream").help("INSERT needs a SELECT that reads a stream");
            return refuse(fault.at("VALUES"));
        }
        let Some(source) = &insert.source else {
            return Err(DataFusionError::Plan("INSERT INTO takes a SELECT".into()));
        };
        let query = self.logical(&Ast::Statement(Box::new(ast::Statement::Query(source.clone()))))?;
        let names: Vec<String> = insert.columns.iter().map(name_of).collect();
        self.warn_of_comparisons(index, &query)?;
        let query = match_sink(rename(query, &names)?, &sink)?;
        let statement = &self.statements[index];
        let stem = file_stem(statement);
        let annotations = Annotations::parse(&statement.comments);
        let faults = annotations.faults(&statement.comments);
        faults.into_iter().for_each(|fault| self.warn(index, (warnings::ANNOTATION, fault)));
        self.add(index, query, Some(sink), stem, annotations)
    }

    fn plan_collected(&mut self) {
        let asked;
        let names = match &self.options.wanted {
            Wanted::Inserts => return,
            Wanted::Rows(names) | Wanted::All(names) => names,
            Wanted::Everything => {
                asked = self.unread_views();
                &asked
            }
            Wanted::Why { name, .. } => {
                if !self.called.is_empty() {
                    return;
                }
                asked = vec![name.clone()];
                &asked
            }
        };
        let mut known: Vec<(String, Option<usize>)> = Vec::new();
        for (index, statement) in self.statements.iter().enumerate() {
            match kind(statement) {
                Kind::View(name) => known.push((name, Some(index))),
                Kind::Insert(_) if matches!(self.options.wanted, Wanted::Why { .. }) => {
                    known.push((file_stem(statement), None));
                    known.extend(detection_of(statement).map(|name| (name, None)));
                }
                Kind::Insert(insert) => known.extend(table_of(insert).map(|name| (name, None))),
                // Its rows as they come, unless what is inserted into it is meant.
                Kind::Table(name) if self.is_only_read(&name) => known.push((name, Some(index))),
                Kind::Table(_) | Kind::Other => {}
            }
        }
        for name in names {
            let Some((_, view)) = known.iter().find(|(known, _)| known == name) else {
                let mut known: Vec<&str> = known.iter().map(|(name, _)| name.as_str()).collect();
                known.sort_unstable();
                known.dedup();
                let what = if matches!(self.options.wanted, Wanted::Why { .. }) { "detection or view" } else { "view" };
                let fault = Fault::new(format!("{what} `{name}` is not known")).help(nearest_of_all(name, &known));
                // No file's fault.
                self.problems.push(Problem::new(None, fault));
                continue;
            };
            let Some(index) = *view else { continue };
            if self.is_broken(index) {
                continue;
            }
            let query = block_on(self.context.table(TableReference::bare(name.as_str())))
                .map(|table| table.into_unoptimized_plan());
            let added = query.and_then(|query| self.add(index, query, None, name.clone(), Annotations::default()));
            if let Err(error) = added {
                self.fail_by(index, &error);
            }
        }
    }

    /// Whether it is a stream that no INSERT writes.
    fn is_only_read(&self, name: &str) -> bool {
        let is_of = |statement: &Statement| matches!(kind(statement), Kind::Insert(insert) if table_of(insert).as_deref() == Some(name));
        self.streams.contains_key(name) && !self.statements.iter().any(is_of)
    }

    /// Views that read a stream, and that nothing reads.
    fn unread_views(&self) -> Vec<String> {
        let is_stream = |index: &usize| match kind(&self.statements[*index]) {
            Kind::Table(name) => self.streams.contains_key(&name),
            Kind::View(_) | Kind::Insert(_) | Kind::Other => false,
        };
        let is_read = |index: usize| {
            let mut others = self.reads.iter().enumerate().filter(|(other, _)| *other != index);
            others.any(|(_, reads)| reads.contains(&index))
        };
        let views = self.statements.iter().enumerate().filter_map(|(index, statement)| match kind(statement) {
            Kind::View(name) if !is_read(index) && self.reads[index].iter().any(is_stream) => Some(name),
            _ => None,
        });
        views.collect()
    }

    /// BLAKE3 over the statements' texts, by file order, so that an unrelated file changes nothing.
    fn hash(&self, statements: &BTreeSet<usize>) -> String {
        let mut hasher = blake3::Hasher::new();
        for &index in statements {
            let text = self.statements[index].text();
            hasher.update(&(text.len() as u64).to_le_bytes()).update(text.as_bytes());
            for digest in self.fitted.digests(text) {
                hasher.update(digest.as_bytes());
            }
        }
        hasher.finalize().to_hex().to_string()
    }

    /// `index`: the statement that the query is of.
    fn add(
        &mut self,
        index: usize,
        query: LogicalPlan,
        sink: Option<Sink>,
        name: String,
        annotations: Annotations,
    ) -> Result<()> {
        let (file, sql_hash) = (self.statements[index].file.path.clone(), self.hash(&self.reads[index]));
        let analyzed = simplified(self.analyze(query)?, &self.context)?;
        let (analyzed, explained) = with_explained(analyzed, sink.as_ref())?;
        let models = models_of(&analyzed)?;
        let output: SchemaRef = Arc::new(analyzed.schema().as_arrow().clone());
        if let Some(sink) = &sink {
            check_encoder(sink, &output)?;
            check_values(&analyzed, sink)?;
        }
        let probes = match &self.options.wanted {
            Wanted::Why { columns, .. } => {
                let read = read_of_streams(&self.context.state().optimize(&analyzed)?, &self.streams)?;
                probes(&analyzed, &format!("{name} {index}"), &self.streams, &read, columns)?
            }
            _ => Vec::new(),
        };
        let stands_in = with_place(&self.statements[index]);
        let guard = Guard { context: &self.context, query: &stands_in, failures: &self.failures };
        let around = Around { streams: &self.streams, named: &self.named, guard };
        let (flow, query) = self.flows.add(analyzed, around)?;
        let output = query.may_be_null_in(&output);
        let lacking = sink.as_ref().and_then(|sink| lacking(&output, sink, &query));
        let aggregates: Vec<_> = match &query {
            Query::Rows(_) => Vec::new(),
            Query::Windows { views, .. } => views.iter().map(|&view| flow.views[view].aggregate.clone()).collect(),
        };
        let texts = self.reads[index].iter().map(|&read| self.statements[read].text());
        flow.fitted.extend(texts.flat_map(|text| self.fitted.digests(text)));
        flow.inserts.push(Insert {
            name: name.clone(),
            file,
            sink,
            annotations,
            sql_hash,
            models,
            query,
            output,
            explained,
        });
        let shuffled = flow.shuffle.iter().flat_map(|shuffle| &shuffle.streams).find_map(|name| self.streams.get(name));
        let shuffled = shuffled.map(warnings::of_shuffle);
        lacking.into_iter().for_each(|warning| self.warn(index, warning));
        self.warn_of_new(index, &aggregates)?;
        shuffled.into_iter().for_each(|warning| self.warn_of_shuffle(index, &aggregates, &warning));
        for (probe, plan) in probes {
            let is_of_join = probe.place == ProbePlace::Join;
            match self.add_probe(index, probe, plan) {
                // Not everything that can be joined can be looked at from its left side.
                Err(_) if is_of_join => {}
                added => added?,
            }
        }
        Ok(())
    }

    fn add_probe(&mut self, index: usize, probe: Probe, plan: LogicalPlan) -> Result<()> {
        let output: SchemaRef = Arc::new(plan.schema().as_arrow().clone());
        let stands_in = with_place(&self.statements[index]);
        let guard = Guard { context: &self.context, query: &stands_in, failures: &self.failures };
        let around = Around { streams: &self.streams, named: &self.named, guard };
        let (flow, query) = self.flows.add(plan, around)?;
        flow.inserts.push(Insert {
            name: probe.name.clone(),
            file: self.statements[index].file.path.clone(),
            sink: None,
            annotations: Annotations::default(),
            sql_hash: String::new(),
            models: Vec::new(),
            query,
            output,
            explained: Vec::new(),
        });
        self.probes.push(probe);
        Ok(())
    }

    fn finish(mut self) -> Result<Dataflow, Problems> {
        if !self.problems.is_empty() {
            self.problems.sort_by_cached_key(Problem::order);
            self.problems.dedup();
            return Err(Problems(self.problems));
        }
        self.refuse_shared_topics();
        if !self.problems.is_empty() {
            return Err(Problems(self.problems));
        }
        self.warn_of_statements();
        self.warnings.sort_by_cached_key(|warning| (warning.order(), warning.message.clone()));
        self.warnings.dedup();
        // Each window knows the query that it stands in.
        let guard = Guard { context: &self.context, query: "", failures: &self.failures };
        let around = Around { streams: &self.streams, named: &self.named, guard };
        // Each view was checked by itself; what fails now is ours.
        let streams = self.flows.finish(around, &self.statics).map_err(|error| {
            let faults = explain::faults(&error).into_iter();
            let ours = faults.map(|fault| Fault::new(format!("a fault of the planner: {fault}")));
            Problems(ours.map(|fault| Problem::new(None, fault)).collect())
        })?;
        Ok(Dataflow { streams, warnings: self.warnings, probes: self.probes })
    }
}

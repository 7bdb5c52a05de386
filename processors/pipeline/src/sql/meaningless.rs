//! Words that the planner passes over, knows by its own names only, or would never come to an end with: they are refused.
//!
//! Deliberately not here: what it refuses itself, in words of SQL.

use amoskys_functions::fault::Fault;
use datafusion::{
    error::{DataFusionError, Result},
    sql::{
        parser::Statement as Ast,
        sqlparser::ast::{Query, TableFactor, Visit, Visitor},
    },
};
use std::ops::ControlFlow;

/// # Errors
/// Each sample of a table, lock of rows, turned table and query that reads itself.
pub fn refuse_meaningless(ast: &Ast) -> Result<()> {
    let Ast::Statement(statement) = ast else { return Ok(()) };
    let mut found = Meaningless::default();
    let _: ControlFlow<()> = statement.visit(&mut found);
    if found.0.is_empty() {
        return Ok(());
    }
    Err(DataFusionError::Collection(found.0.into_iter().map(DataFusionError::from).collect()))
}

#[derive(Default)]
struct Meaningless(Vec<Fault>);

impl Visitor for Meaningless {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        if !query.locks.is_empty() {
            let fault = Fault::new("rows of a stream are not locked");
            self.0.push(fault.help("leave FOR UPDATE out").at("FOR UPDATE").at("FOR SHARE"));
        }
        if query.with.as_ref().is_some_and(|with| with.recursive) {
            let fault = Fault::new("a query that reads itself may have no end");
            self.0.push(fault.help("write each step as a view of its own, that reads the one before").at("RECURSIVE"));
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, table: &TableFactor) -> ControlFlow<()> {
        match table {
            TableFactor::Table { sample: Some(_), .. } => {
                let fault = Fault::new("a sample of a stream would be another one each time it is read again");
                let help = "take one by a hash of a key: WHERE hash64(host_id) % 10 = 0";
                self.0.push(fault.help(help).at("TABLESAMPLE"));
            }
            TableFactor::Pivot { .. } => {
                let help = "write a column for each value: sum(x) FILTER (WHERE k = 'a') AS a";
                self.0.push(Fault::new("PIVOT is not supported").help(help).at("PIVOT"));
            }
            TableFactor::Unpivot { .. } => {
                let help = "write a SELECT for each column, joined by UNION ALL";
                self.0.push(Fault::new("UNPIVOT is not supported").help(help).at("UNPIVOT"));
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

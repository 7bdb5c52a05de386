//! Words that the planner reads and passes over, so that they would seem to do something: they are refused.
//!
//! Deliberately not here: what it refuses itself.

use amoskys_functions::fault::{Fault, refuse};
use datafusion::{
    error::Result,
    sql::{
        parser::Statement as Ast,
        sqlparser::ast::{Query, TableFactor, Visit, Visitor},
    },
};
use std::ops::ControlFlow;

/// # Errors
/// A sample of a table, and locks of rows.
pub fn refuse_meaningless(ast: &Ast) -> Result<()> {
    let Ast::Statement(statement) = ast else { return Ok(()) };
    match statement.visit(&mut Meaningless) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(fault) => refuse(*fault),
    }
}

struct Meaningless;

impl Visitor for Meaningless {
    type Break = Box<Fault>;

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<Self::Break> {
        if query.locks.is_empty() {
            return ControlFlow::Continue(());
        }
        let fault = Fault::new("rows of a stream are not locked");
        ControlFlow::Break(Box::new(fault.help("leave FOR UPDATE out").at("FOR UPDATE").at("FOR SHARE")))
    }

    fn pre_visit_table_factor(&mut self, table: &TableFactor) -> ControlFlow<Self::Break> {
        let TableFactor::Table { sample: Some(_), .. } = table else { return ControlFlow::Continue(()) };
        let fault = Fault::new("a sample of a stream would be another one each time it is read again");
        let help = "take one by a hash of a key: WHERE hash64(host_id) % 10 = 0";
        ControlFlow::Break(Box::new(fault.help(help).at("TABLESAMPLE")))
    }
}

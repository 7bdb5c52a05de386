//! CREATE EXTERNAL TABLE: streams, files that are joined with, and files that are inserted into.

use super::{Kind, Planner, kind};
use crate::sql::{Sink, Statement, Stream, definitions::table_of, statics::StaticTable};
use amoskys_functions::fault::{Fault, refuse};
use datafusion::{
    common::TableReference,
    datasource::MemTable,
    error::{DataFusionError, Result},
    logical_expr::{DdlStatement, LogicalPlan},
    sql::parser::Statement as Ast,
};
use std::{collections::BTreeMap, sync::Arc};

impl Planner<'_> {
    pub(super) fn define_table(&mut self, index: usize, name: &str) -> Result<()> {
        let ast = self.statements[index].ast.clone();
        if let Ast::CreateExternalTable(table) = &ast {
            let mut options: Vec<&str> = Vec::new();
            for (name, _) in &table.options {
                if options.contains(&name.as_str()) {
                    return refuse(Fault::new(format!("option `{name}` is given twice")).at("OPTIONS"));
                }
                options.push(name);
            }
        }
        let LogicalPlan::Ddl(DdlStatement::CreateExternalTable(table)) = self.logical(&ast)? else {
            return Err(DataFusionError::Plan("is no CREATE EXTERNAL TABLE".into()));
        };
        if is_file(&table.file_type) && self.is_inserted_into(name) {
            match Sink::of_file(&table) {
                Ok(sink) => drop(self.streams.insert(name.to_owned(), sink)),
                Err(faults) => faults.into_iter().for_each(|fault| self.fail(index, fault)),
            }
            return Ok(());
        }
        if is_file(&table.file_type) {
            let table = Arc::new(StaticTable::read(name, table)?);
            self.context.register_table(TableReference::bare(name), table.provider())?;
            self.statics.push(table);
            return Ok(());
        }
        match Stream::define(&table, &self.options.pool) {
            Ok(stream) => {
                let empty = MemTable::try_new(stream.schema(), vec![vec![]])?;
                self.context.register_table(TableReference::bare(name), Arc::new(empty))?;
                self.streams.insert(name.to_owned(), stream);
            }
            Err(faults) => faults.into_iter().for_each(|fault| self.fail(index, fault)),
        }
        Ok(())
    }

    fn is_inserted_into(&self, name: &str) -> bool {
        self.statements.iter().any(|statement| is_insert_into(statement, name))
    }

    /// A file that these statements insert into.
    pub(super) fn is_written_file(&self, name: &str, names: &BTreeMap<String, usize>) -> bool {
        let table = names.get(name).map(|&index| &self.statements[index].ast);
        matches!(table, Some(Ast::CreateExternalTable(table)) if is_file(&table.file_type))
            && self.is_inserted_into(name)
    }
}

fn is_file(file_type: &str) -> bool {
    matches!(file_type.to_ascii_uppercase().as_str(), "PARQUET" | "CSV")
}

pub(super) fn is_insert_into(statement: &Statement, name: &str) -> bool {
    matches!(kind(statement), Kind::Insert(insert) if table_of(insert).is_some_and(|table| table == name))
}

//! Makes a query's columns those of the sink that it is inserted into: by name, in the sink's types.
//!
//! Deliberately not here: which sink that is, and how rows are encoded.

use super::{
    Sink,
    catalog::{nearest, nearest_of_all},
    format::{Format, RowEncoder, RowEncoderError},
};
use amoskys_columns::{Mismatch, Mismatches};
use amoskys_functions::{
    fault::{Fault, refuse},
    types::sql_type,
};
use arrow::datatypes::{DataType, SchemaRef};
use datafusion::{
    common::{Column, ScalarValue},
    error::{DataFusionError, Result},
    logical_expr::{Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, cast, lit},
};

/// `INSERT INTO t (a, b) SELECT …`: names the query's columns a, b.
pub fn rename(query: LogicalPlan, names: &[String]) -> Result<LogicalPlan> {
    if names.is_empty() {
        return Ok(query);
    }
    let columns = query.schema().columns();
    if columns.len() != names.len() {
        let fault = Fault::new(format!("INSERT names {} columns, its SELECT has {}", names.len(), columns.len()));
        return refuse(fault.help("name as many as the SELECT has"));
    }
    let renamed: Vec<Expr> =
        columns.into_iter().zip(names).map(|(column, name)| Expr::Column(column).alias(name)).collect();
    LogicalPlanBuilder::from(query).project(renamed)?.build()
}

/// Puts a query's columns, found by name, into the order and types of a sink whose columns the SQL lists. A protobuf sink
/// matches by itself.
pub fn match_sink(query: LogicalPlan, sink: &Sink) -> Result<LogicalPlan> {
    if !matches!(sink.format, Format::Json | Format::Arrow | Format::Csv | Format::Parquet) {
        return Ok(query);
    }
    let schema = query.schema().clone();
    let known = || sink.columns.fields().iter().map(|field| field.name().as_str());
    let unknown = schema.fields().iter().filter(|field| known().all(|name| name != field.name())).map(|field| {
        let name = field.name();
        // A name that the planner gave: of a literal, of a call.
        if name.contains('(') {
            let fault = Fault::new(format!("`{}` takes columns by name, and one has none", sink.name));
            let names = known().collect::<Vec<_>>().join(", ");
            return fault.help(format!("give it one of {names}: … AS {}", known().next().unwrap_or("name"))).into();
        }
        let fault = Fault::new(format!("`{}` has no column `{name}`", sink.name)).help(nearest(name, known()));
        fault.at(format!("AS {name}")).at(format!("\"{name}\"")).into()
    });
    let unknown: Vec<DataFusionError> = unknown.collect();
    if !unknown.is_empty() {
        return Err(DataFusionError::Collection(unknown));
    }
    let columns =
        sink.columns.fields().iter().map(|field| match schema.iter().find(|(_, found)| found.name() == field.name()) {
            Some((qualifier, found)) => {
                let column = Expr::Column(Column::new(qualifier.cloned(), found.name()));
                let column = if found.data_type() == field.data_type() {
                    column
                } else if found.data_type().is_string()
                    && (field.data_type().is_numeric() || *field.data_type() == DataType::Boolean)
                {
                    return refuse(of_text(found.name(), field.data_type(), sink));
                } else {
                    column.cast_to(field.data_type(), schema.as_ref())?
                };
                Ok(column.alias(field.name()))
            }
            None if field.is_nullable() => {
                Ok(cast(lit(ScalarValue::Null), field.data_type().clone()).alias(field.name()))
            }
            None => refuse(
                Fault::new(format!(
                    "`{}` is NOT NULL in `{}` and the SELECT has no such column",
                    field.name(),
                    sink.name
                ))
                .help(format!("add … AS {}", field.name())),
            ),
        });
    let columns: Vec<Expr> = columns.collect::<Result<_>>()?;
    LogicalPlanBuilder::from(query).project(columns)?.build()
}

/// Text where the sink has something else: what is none would be null there, row by row.
fn of_text(column: &str, wanted: &DataType, sink: &Sink) -> Fault {
    let wanted = sql_type(wanted);
    let fault = Fault::new(format!("`{column}` is text, and in `{}` it is {wanted}", sink.name));
    fault.help(format!("CAST({column} AS {wanted}), if it holds such")).at(format!("AS {column}")).at(column)
}

/// A column that the sink's message does not take.
fn mismatch(mismatch: &Mismatch, sink: &Sink) -> Fault {
    let (fault, column) = match mismatch {
        Mismatch::Type { column, got, field, want } => {
            let message =
                format!("`{column}` is {}, and {field} is {want}, which cannot hold every one", sql_type(got));
            let help = if got.is_integer() && matches!(want.as_str(), "double" | "float") {
                format!("write it with a point (1.0), or CAST({column} AS DOUBLE)")
            } else {
                format!("CAST({column} AS …) what it is to become")
            };
            (Fault::new(message).help(help), column)
        }
        Mismatch::NoField { column, got, message, fields } => {
            let known: Vec<&str> = fields.split(", ").collect();
            let fault = Fault::new(format!("{message} has no field `{column}`"));
            let takes_numbers = known.contains(&"features") && !got.is_numeric();
            let numbers = if takes_numbers { "; numbers alone may have names of their own, in `features`" } else { "" };
            (fault.help(format!("{}{numbers}", nearest_of_all(column, &known))), column)
        }
        Mismatch::Repeated { column } => (Fault::new(format!("`{column}` is there twice")), column),
        Mismatch::Group { field } => return Fault::new(format!("`{}`: {mismatch}", sink.name)).at(field.clone()),
    };
    fault.at(format!("AS {column}")).at(column.clone())
}

pub fn check_encoder(sink: &Sink, output: &SchemaRef) -> Result<()> {
    if sink.format.is_file() {
        return Ok(());
    }
    let problem = match RowEncoder::new(&sink.format, output) {
        Ok(_) => return Ok(()),
        Err(RowEncoderError::Mismatches(Mismatches(all))) => {
            let faults = all.iter().map(|one| mismatch(one, sink).into());
            return Err(DataFusionError::Collection(faults.collect()));
        }
        Err(problem) => problem.to_string(),
    };
    let fault = Fault::new(format!("does not fit `{}`: {problem}", sink.name));
    // Encoders name the column.
    let column = problem.strip_prefix("column \"").and_then(|rest| rest.split_once('"')).map(|(name, _)| name);
    refuse(match column {
        Some(name) => fault.at(format!("AS {name}")).at(format!("\"{name}\"")),
        None => fault,
    })
}

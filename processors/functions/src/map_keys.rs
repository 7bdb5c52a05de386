//! Access to a map by a key (`features['execs']`) with the key in the map's own type.
//!
//! DataFusion compares a literal with a map's keys as they are, and fails for each row where the keys are string views, as those
//! that are decoded from records are.

use datafusion::{
    arrow::datatypes::DataType,
    common::{
        DFSchema, Result,
        config::ConfigOptions,
        tree_node::{Transformed, TreeNode},
    },
    logical_expr::{Expr, ExprSchemable, LogicalPlan, expr_rewriter::NamePreserver},
    optimizer::AnalyzerRule,
};

/// Casts literals that maps are accessed by.
#[derive(Debug)]
pub struct CastMapKeys;

impl AnalyzerRule for CastMapKeys {
    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        let cast = plan.transform_up_with_subqueries(|node| {
            let schema = crate::model::inputs_schema(&node)?;
            let names = NamePreserver::new(&node);
            node.map_expressions(|expression| {
                let saved = names.save(&expression);
                let cast = expression.transform_up(|expression| Ok(of_access(expression, &schema)))?;
                Ok(cast.update_data(|expression| saved.restore(expression)))
            })
        });
        cast.map(|plan| plan.data)
    }

    fn name(&self) -> &str {
        "cast_map_keys"
    }
}

/// `get_field(base, key, …)`, whose keys go ever deeper.
fn of_access(expression: Expr, schema: &DFSchema) -> Transformed<Expr> {
    let Expr::ScalarFunction(mut call) = expression else { return Transformed::no(expression) };
    let base =
        call.args.first().filter(|_| call.func.name() == "get_field").and_then(|base| base.get_type(schema).ok());
    let (mut within, mut is_cast) = (base, false);
    for argument in call.args.iter_mut().skip(1) {
        let (Some(data_type), Expr::Literal(key, _)) = (&within, &mut *argument) else { break };
        within = match data_type {
            DataType::Map(entries, _) => {
                let DataType::Struct(parts) = entries.data_type() else { break };
                let [of_keys, values] = parts.as_ref() else { break };
                if key.data_type() != *of_keys.data_type()
                    && let Ok(cast) = key.cast_to(of_keys.data_type())
                {
                    (*key, is_cast) = (cast, true);
                }
                Some(values.data_type().clone())
            }
            DataType::Struct(fields) => {
                let name = key.try_as_str().flatten();
                name.and_then(|name| fields.find(name)).map(|(_, field)| field.data_type().clone())
            }
            _ => None,
        };
    }
    let expression = Expr::ScalarFunction(call);
    if is_cast { Transformed::yes(expression) } else { Transformed::no(expression) }
}

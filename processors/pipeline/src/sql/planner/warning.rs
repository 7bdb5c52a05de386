//! Where warnings stand, and which a comment allows.

use super::{Kind, Planner, Wanted, kind};
use crate::sql::{
    Annotations, Problem, Statement, anchor,
    warnings::{self, Warning},
};
use datafusion::{error::Result, logical_expr};
use std::collections::BTreeSet;

impl Planner<'_> {
    /// Where its words stand, unless a comment above the statement allows it.
    pub(super) fn warn(&mut self, index: usize, (name, fault): Warning) {
        let statement = &self.statements[index];
        if !Annotations::parse(&statement.comments).allowed().iter().any(|allowed| allowed == name) {
            let place = statement.place(anchor::of(statement.text(), &fault));
            self.warnings.push(Problem::warning(Some(place), name, fault));
        }
    }

    /// Of texts compared with numbers, where they stand: views that are read are part of the plan.
    pub(super) fn warn_of_comparisons(&mut self, index: usize, plan: &logical_expr::LogicalPlan) -> Result<()> {
        for (name, fault) in warnings::of_comparisons(plan)? {
            let is_of = |read: &usize| self.compared.get(read).is_some_and(|known| known.contains(&fault.message));
            if !self.reads[index].iter().any(is_of) {
                self.compared.entry(index).or_default().push(fault.message.clone());
                self.warn(index, (name, fault));
            }
        }
        Ok(())
    }

    /// Of aggregates that no view before had.
    pub(super) fn warn_of_new(&mut self, index: usize, aggregates: &[logical_expr::Aggregate]) -> Result<()> {
        for aggregate in aggregates {
            if !self.named.iter().any(|known| known.aggregate == *aggregate) {
                let found = warnings::of_aggregate(aggregate, &self.streams)?;
                found.into_iter().for_each(|warning| self.warn(index, warning));
            }
        }
        Ok(())
    }

    /// Of the statements as a whole: what nobody reads, and what comments allow that is no warning.
    pub(super) fn warn_of_statements(&mut self) {
        let statements = self.statements;
        let mut read: BTreeSet<usize> = BTreeSet::new();
        for (index, statement) in statements.iter().enumerate() {
            if let Kind::Insert(_) = kind(statement) {
                read.extend(&self.reads[index]);
            }
        }
        // Views alone are there to be looked at.
        let has_inserts = matches!(self.options.wanted, Wanted::Inserts | Wanted::Everything) && !read.is_empty();
        for (index, statement) in statements.iter().enumerate() {
            let allowed = Annotations::parse(&statement.comments).allowed();
            warnings::of_allowed(&allowed).into_iter().for_each(|warning| self.warn(index, warning));
            if let Kind::View(name) = kind(statement)
                && has_inserts
                && !read.contains(&index)
            {
                self.warn(index, warnings::of_unread_view(&name));
            }
        }
    }

    /// At the views that group like this, or here.
    pub(super) fn warn_of_shuffle(&mut self, index: usize, aggregates: &[logical_expr::Aggregate], warning: &Warning) {
        for aggregate in aggregates {
            let view = self.named.iter().find(|known| known.aggregate == *aggregate).map(|known| &known.view);
            let is_here = |statement: &Statement| matches!(kind(statement), Kind::View(name) if Some(&name) == view);
            let place = self.statements.iter().position(is_here).unwrap_or(index);
            self.warn(place, warning.clone());
        }
    }
}

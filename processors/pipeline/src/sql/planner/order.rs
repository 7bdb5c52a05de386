//! Which statement defines which name, and in which order they are planned: each after those that it reads.
//!
//! Finds names that are defined twice or not at all, and views that read themselves.

use super::{Kind, Planner, kind, tables};
use crate::sql::{anchor, catalog::nearest};
use amoskys_functions::fault::Fault;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Clone, Copy, PartialEq)]
enum Visit {
    New,
    Open,
    Done,
}

impl Planner<'_> {
    /// Which statement defines a name.
    pub(super) fn names(&mut self) -> BTreeMap<String, usize> {
        let mut names: BTreeMap<String, usize> = BTreeMap::new();
        for (index, statement) in self.statements.iter().enumerate() {
            match kind(statement) {
                Kind::Table(name) | Kind::View(name) => {
                    if let Some(&first) = names.get(&name) {
                        let first = &self.statements[first];
                        let place = first.place(anchor::head(first.text()));
                        let fault = Fault::new(format!("`{name}` is defined already, at {place}"));
                        self.fail(index, fault.help("give one of them another name").at(format!("\"{name}\"")));
                    } else {
                        names.insert(name, index);
                    }
                }
                Kind::Insert(_) => {}
                Kind::Other => {
                    let message = "only CREATE EXTERNAL TABLE, CREATE VIEW and INSERT INTO belong into these files";
                    self.fail(index, Fault::new(message));
                }
            }
        }
        names
    }

    /// Statements so that each comes after those it reads; finds unknown names and cycles.
    pub(super) fn order(&mut self, names: &BTreeMap<String, usize>) -> Vec<usize> {
        let mut direct: Vec<Vec<usize>> = vec![Vec::new(); self.statements.len()];
        let statements = self.statements;
        for (index, statement) in statements.iter().enumerate() {
            let references = match self.context.state().resolve_table_references(&statement.ast) {
                Ok(references) if !self.broken.contains(&index) => references,
                _ => continue,
            };
            let own = match kind(statement) {
                Kind::Table(name) | Kind::View(name) => Some(name),
                _ => None,
            };
            for reference in references {
                let name = reference.table().to_owned();
                if self.is_written_file(&name, names)
                    && !tables::is_insert_into(statement, &name)
                    && own.as_ref() != Some(&name)
                {
                    let fault =
                        Fault::new(format!("`{name}` is a file that these files insert into, so it is not read here"));
                    let help = "read what is inserted, or the file by SQL of its own when it is there";
                    self.fail(index, fault.help(help).at(format!("\"{name}\"")));
                    continue;
                }
                match names.get(&name) {
                    // A definition's own name is among its references.
                    Some(_) if own.as_ref() == Some(&name) => {}
                    Some(&other) => direct[index].push(other),
                    // What defines it was reported, or may have been.
                    None if self.sources.is_cut_short || self.sources.unread.contains(&name) => {
                        self.broken.insert(index);
                    }
                    None => {
                        let near = nearest(&name, names.keys().map(String::as_str));
                        let fault = Fault::new(format!("table `{name}` is not known")).help(near);
                        self.fail(index, fault.at(format!("\"{name}\"")).at(format!("'{name}'")));
                    }
                }
            }
        }
        let mut order = Vec::new();
        let mut state = vec![Visit::New; self.statements.len()];
        for index in 0..self.statements.len() {
            self.visit(index, &direct, &mut Vec::new(), &mut state, &mut order);
        }
        order
    }

    /// `path`: statements from which it was come to, each read by the one before.
    fn visit(
        &mut self,
        index: usize,
        direct: &[Vec<usize>],
        path: &mut Vec<usize>,
        state: &mut [Visit],
        order: &mut Vec<usize>,
    ) {
        match state[index] {
            Visit::Done => return,
            Visit::Open => {
                let from = path.iter().position(|&on| on == index).unwrap_or(0);
                let names = path[from..].iter().chain([&index]).map(|&on| match kind(&self.statements[on]) {
                    Kind::Table(name) | Kind::View(name) => name,
                    Kind::Insert(_) | Kind::Other => "INSERT".to_owned(),
                });
                let fault = Fault::new(format!("reads itself: {}", names.collect::<Vec<_>>().join(" reads ")));
                return self.fail(index, fault.help("let one of the views read the stream instead"));
            }
            Visit::New => state[index] = Visit::Open,
        }
        path.push(index);
        let mut reads = BTreeSet::from([index]);
        for &other in &direct[index] {
            self.visit(other, direct, path, state, order);
            reads.extend(&self.reads[other]);
            if self.broken.contains(&other) {
                self.broken.insert(index);
            }
        }
        path.pop();
        self.reads[index] = reads;
        state[index] = Visit::Done;
        order.push(index);
    }
}

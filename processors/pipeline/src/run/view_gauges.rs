//! What open windows hold, by the views that share their panes: gauges that come and go with a worker's partitions.
//!
//! Told apart by the topic that is read, the views, the columns that are grouped by and the windows. Limits: windows that stand in
//! INSERTs of one file and differ in nothing of this but in their rows (another `WHERE`) are one sample, which is their sum.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{family::Family, gauge::Gauge},
    registry::{Registry, Unit},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
};

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelSet)]
pub struct ViewLabel {
    pub worker: u32,
    pub topic: String,
    /// Their names.
    pub views: String,
    /// Names of columns, the window left out.
    pub grouped_by: String,
    /// Size and slide of each view that shares the panes.
    pub windows: String,
}

/// Of one view, or of several that share panes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Held {
    pub panes: usize,
    pub keys: usize,
    pub bytes: usize,
}

/// Of all workers of a processor.
#[derive(Debug, Clone, Default)]
pub(super) struct ViewFamilies {
    panes: Family<ViewLabel, Gauge>,
    keys: Family<ViewLabel, Gauge>,
    bytes: Family<ViewLabel, Gauge>,
}

/// Of one worker.
#[derive(Debug, Clone)]
pub struct ViewGauges {
    worker: u32,
    families: ViewFamilies,
    /// What was shown last.
    shown: Arc<Mutex<BTreeSet<ViewLabel>>>,
}

impl ViewFamilies {
    pub(super) fn register(&self, registry: &mut Registry) {
        let mut gauge = |name: &str, unit: Unit, help: &str, family: &Family<ViewLabel, Gauge>| {
            registry.register_with_unit(name, help, unit, family.clone());
        };
        let other = |name: &str| Unit::Other(name.to_owned());
        gauge("view_open", other("panes"), "Panes of open windows, by the views that share them", &self.panes);
        gauge("view_held", other("keys"), "Group keys held, by the views that share them", &self.keys);
        gauge("view_state", Unit::Bytes, "State of open windows, by the views that share it", &self.bytes);
    }

    pub(super) fn of(&self, worker: u32) -> ViewGauges {
        ViewGauges { worker, families: self.clone(), shown: Arc::default() }
    }
}

impl ViewGauges {
    /// Shows what the worker holds now; what it held before and holds no more is gone.
    pub fn show(&self, held: impl Iterator<Item = (ViewLabel, Held)>) {
        let mut sums: BTreeMap<ViewLabel, Held> = BTreeMap::new();
        for (label, more) in held {
            let sum = sums.entry(ViewLabel { worker: self.worker, ..label }).or_default();
            sum.panes += more.panes;
            sum.keys += more.keys;
            sum.bytes += more.bytes;
        }
        let ViewFamilies { panes, keys, bytes } = &self.families;
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        for gone in shown.iter().filter(|label| !sums.contains_key(label)) {
            for family in [panes, keys, bytes] {
                family.remove(gone);
            }
        }
        for (label, sum) in &sums {
            panes.get_or_create_owned(label).set(sum.panes as i64);
            keys.get_or_create_owned(label).set(sum.keys as i64);
            bytes.get_or_create_owned(label).set(sum.bytes as i64);
        }
        *shown = sums.into_keys().collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prometheus_client::encoding::text::encode;

    fn label(windows: &str) -> ViewLabel {
        ViewLabel {
            worker: 0,
            topic: "t".into(),
            views: "v".into(),
            grouped_by: "host, user".into(),
            windows: windows.into(),
        }
    }

    fn lines(registry: &Registry) -> Vec<String> {
        let mut text = String::new();
        encode(&mut text, registry).expect("encodes");
        text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
    }

    #[test]
    fn samples_come_and_go_with_what_each_worker_holds() {
        let (mut registry, families) = (Registry::default(), ViewFamilies::default());
        families.register(&mut registry);
        let workers = [families.of(0), families.of(1)];
        let held = |keys| Held { panes: 2, keys, bytes: 10 * keys };
        // Two partitions of one view, and another view.
        workers[0].show([(label("5s/1s"), held(3)), (label("5s/1s"), held(4)), (label("1h/1m"), held(1))].into_iter());
        workers[1].show([(label("5s/1s"), held(8))].into_iter());
        let labels = |worker: u32, windows: &str| {
            format!("{{worker=\"{worker}\",topic=\"t\",views=\"v\",grouped_by=\"host, user\",windows=\"{windows}\"}}")
        };
        let found = lines(&registry);
        assert_eq!(found.len(), 9, "{found:?}");
        for line in [
            format!("view_held_keys{} 7", labels(0, "5s/1s")),
            format!("view_open_panes{} 4", labels(0, "5s/1s")),
            format!("view_state_bytes{} 10", labels(0, "1h/1m")),
            format!("view_held_keys{} 8", labels(1, "5s/1s")),
        ] {
            assert!(found.contains(&line), "{line} is not in {found:?}");
        }
        // What moved away is gone here, and nowhere else.
        workers[0].show([(label("1h/1m"), held(2))].into_iter());
        let found = lines(&registry);
        assert_eq!(found.len(), 6, "{found:?}");
        assert!(found.contains(&format!("view_held_keys{} 8", labels(1, "5s/1s"))), "{found:?}");
        workers.iter().for_each(|worker| worker.show(std::iter::empty()));
        assert_eq!(lines(&registry), Vec::<String>::new());
    }
}

//! The functions of docs/functions.md through the pipeline: the page's SQL plans (that of docs/windows.md, too), sketches
//! run in windows, refusals point at their place.

mod common;

use amoskys_functions::{aggregate::aggregates, model::unbound, window};
use amoskys_pipeline::sql::{Dataflow, Sources, plan};
use common::{EVENTS, json, planned, run_one_by_one, run_shuffles};
use std::sync::Arc;

const SINK: &str =
    "CREATE EXTERNAL TABLE sink (k VARCHAR, x DOUBLE, y BIGINT, z BIGINT) STORED AS JSON LOCATION 'sink-topic';";

fn page() -> String {
    std::fs::read_to_string("../../docs/functions.md").expect("the page")
}

fn plan_page(page: &str, view: &str) -> Dataflow {
    let blocks: Vec<&str> = page.split("```sql\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    // Files are named from the folder where the processor runs.
    let sources = Sources::of("functions.md", blocks.join("\n").replace("'docs/", "'../../docs/"));
    let mut options = common::options();
    options.models = Arc::new(|_| {
        let mut model = Arc::into_inner(common::model("mean")?).ok_or("is held by nobody else")?;
        model.features = vec!["peers".into(), "connected".into()];
        Ok(Arc::new(model))
    });
    options.wanted = amoskys_pipeline::sql::Wanted::Rows(vec![view.into()]);
    plan(&sources, &options).unwrap_or_else(|problems| panic!("{problems}"))
}

#[test]
fn every_sql_of_the_page_plans() {
    let page = page();
    let views = page.split("CREATE VIEW ").skip(1).filter_map(|rest| rest.split_whitespace().next());
    let views: Vec<&str> = views.collect();
    assert!(views.len() >= 6, "{views:?}");
    for view in views {
        assert_eq!(plan_page(&page, view).streams.len(), 1, "{view}");
    }
}

/// Three hours of calls, of all kinds that the page has.
#[test]
fn every_sql_of_the_page_runs() {
    let page = page();
    let record = |offset: i64| {
        let name = ["memfd_create", "execve", "connect", "openat", "a.b.example.co.uk"][offset as usize % 5];
        let peer = ["10.0.0.1", "2001:db8::1", "8.8.8.8", "fd00::1"][offset as usize % 4];
        let at_ms = common::BASE_MS + offset * 10_000;
        let at = at_ms * common::MS_NS;
        let payload = format!(
            r#"{{"observed_at": {at}, "host_id": "h{}", "name": "{name}", "dst_addr": "{peer}", "duration_ns": {}}}"#,
            offset % 3,
            offset * 997 % 1_000_003
        );
        common::Kept { offset, log_ms: at_ms, payload: payload.into_bytes() }
    };
    let records: Vec<common::Kept> = (0..1_080).map(record).collect();
    let views = page.split("CREATE VIEW ").skip(1).filter_map(|rest| rest.split_whitespace().next());
    for view in views {
        let dataflow = plan_page(&page, view);
        let flow = &dataflow.streams[0];
        let (_, out) = run_one_by_one(flow, &records);
        assert!(out.dead.is_empty(), "{view}: {:?}", out.dead);
        let rows: usize = out.emissions.iter().map(|emission| emission.batch.num_rows()).sum();
        assert!(rows > 0, "{view} gives nothing");
        assert_eq!(flow.failures.take(), [], "{view}");
        let is_null = |emission: &amoskys_pipeline::run::Emission, at: usize| {
            let column = emission.batch.column(at);
            column.null_count() == column.len()
        };
        for at in 0..out.emissions[0].batch.num_columns() {
            let schema = out.emissions[0].batch.schema();
            assert!(
                !out.emissions.iter().all(|emission| is_null(emission, at)),
                "{view}: {} is null",
                schema.field(at).name()
            );
        }
    }
}

#[test]
fn every_sql_of_the_page_about_windows_plans() {
    let page = std::fs::read_to_string("../../docs/windows.md").expect("the page");
    // Files are named from the folder where the processor runs.
    let page = page.replace("LOCATION 'docs/", "LOCATION '../../docs/");
    for view in ["logins_5s", "logins_1h", "failures_by_team"] {
        assert_eq!(plan_page(&page, view).streams.len(), 1, "{view}");
    }
}

#[test]
fn the_page_has_every_function() {
    let page = page();
    let functions = unbound().into_iter().chain([window::hop(), window::tumble(), window::session()]);
    let names = functions.map(|function| function.name().to_owned());
    for name in names.chain(aggregates().iter().map(|function| function.name().to_owned())) {
        assert!(page.contains(&format!("| [`{name}(")), "docs/functions.md does not list `{name}`");
    }
}

/// Rows of a query over a window of `a` (v 1 to 4, n 10, 20, 20, null) and `b` (v -8, n 5).
fn rows(sql: &str) -> Vec<String> {
    let query = format!("INSERT INTO sink {sql};");
    let dataflow = planned(&[("a.sql", EVENTS), ("b.sql", SINK), ("q.sql", &query)]);
    let flow = &dataflow.streams[0];
    let null = |record: common::Kept| {
        let payload = String::from_utf8(record.payload).expect("text").replace("\"n\": 0", "\"n\": null").into_bytes();
        common::Kept { payload, ..record }
    };
    let records = [
        json(0, 100, Some(100), "a", 1.0, 10),
        json(1, 200, Some(200), "b", -8.0, 5),
        json(2, 300, Some(300), "a", 2.0, 20),
        json(3, 400, Some(400), "a", 3.0, 20),
        null(json(4, 450, Some(450), "a", 4.0, 0)),
        json(5, 5000, Some(5000), "z", 0.0, 1),
    ];
    let (mut task, mut out) = run_one_by_one(flow, &records);
    run_shuffles(&dataflow, flow, &mut task, &mut out);
    assert!(out.dead.is_empty(), "{:?}", out.dead);
    let emitted = out.emissions.iter().flat_map(|emission| {
        (0..emission.batch.num_rows()).map(|row| {
            let columns = emission.batch.columns().iter();
            let printed =
                columns.map(|column| arrow::util::display::array_value_to_string(column, row).expect("prints"));
            printed.collect::<Vec<_>>().join(" ")
        })
    });
    emitted.collect()
}

#[test]
fn sketches_in_windows() {
    let by = "FROM ev GROUP BY k, tumble(t, INTERVAL '1 second')";
    let cases = [
        (
            format!("SELECT k, ddsketch_quantile(v, 1.0) AS x, hll_distinct(n) AS y, count(DISTINCT n) AS z {by}"),
            vec!["a 4.0 2 2", "b -8.0 1 1"],
        ),
        (
            format!(
                "SELECT k, ddsketch_quantile(v, 0.5, 0.001) FILTER (WHERE v > 2) AS x, hll_distinct(k) FILTER (WHERE v > 2) AS y,
                 count(DISTINCT k) FILTER (WHERE v > 2) AS z {by}"
            ),
            vec!["a 3.5 1 1", "b  0 0"],
        ),
        (
            format!("SELECT k, round(ddsketch_quantile(v, 0.4) * 10) AS x, hll_distinct(v) AS y, 0 AS z {by} HAVING hll_distinct(v) > 1"),
            vec!["a 22.0 4 0"],
        ),
        (
            format!("SELECT 'all' AS k, ddsketch_quantile(c, 0.0) AS x, hll_distinct(c) AS y, count(DISTINCT k) AS z FROM
                     (SELECT k, count(*) AS c {by})"),
            vec!["all 1.0 2 2"],
        ),
        (
            // Panes merged, in both windows that hold all four rows.
            "SELECT k, ddsketch_quantile(v, 1.0) AS x, hll_distinct(n) AS y, count(DISTINCT k) AS z FROM ev
             GROUP BY k, hop(t, INTERVAL '250 milliseconds', INTERVAL '750 milliseconds') HAVING count(*) = 4"
                .into(),
            vec!["a 4.0 2 1"; 2],
        ),
    ];
    for (sql, expected) in cases {
        assert_eq!(rows(&sql), expected, "{sql}");
    }
}

//! Which queries are computed where rows are read, and by which keys the others' groups are sent.

use crate::{
    SINK, SQL,
    common::{EVENTS, planned},
};

/// Where a query is computed: `None` in the partitions of `ev`, else the key columns by which its views are sent.
fn placed(sql: &str) -> Option<Vec<Vec<usize>>> {
    let query = format!("INSERT INTO sink {sql};");
    let views = SQL.split("INSERT INTO").next().expect("views");
    let events = EVENTS.to_owned()
        + "CREATE VIEW per_k_too AS SELECT k, n, tumble(t, INTERVAL '2 seconds') AS win, sum(v) AS x FROM ev GROUP BY k, n, win;
           CREATE EXTERNAL TABLE owners (k VARCHAR, team VARCHAR) STORED AS CSV LOCATION '../../docs/examples/owners.csv'
           OPTIONS ('format.has_header' 'false');";
    let dataflow = planned(&[("a.sql", &events), ("b.sql", SINK), ("c.sql", views), ("q.sql", &query)]);
    if dataflow.streams[0].inserts.len() == 1 {
        assert_eq!(dataflow.streams.len(), 1, "{sql}");
        return None;
    }
    let ships = dataflow.streams.iter().flat_map(|flow| &flow.panes).filter_map(|panes| panes.ship.as_ref());
    Some(ships.map(|ship| ship.key.clone()).collect())
}

#[test]
fn each_step_says_which_rows_it_wants_together() {
    let gathered = |views: usize| Some(vec![Vec::new(); views]);
    let by = |keys: &[usize]| Some(keys.iter().map(|&key| vec![key]).collect());
    let cases: Vec<(&str, Option<Vec<Vec<usize>>>)> = vec![
        ("SELECT k, c FROM per_k WHERE c > 1 ORDER BY c", None),
        (
            "SELECT k AS w, c FROM (SELECT k, c, row_number() OVER (PARTITION BY k ORDER BY c) AS r FROM per_k) WHERE r = 1",
            None,
        ),
        ("SELECT k, c FROM per_k ORDER BY c LIMIT 1", gathered(1)),
        ("SELECT k, rank() OVER (ORDER BY c) AS n FROM per_k", gathered(1)),
        ("SELECT count(*) AS c FROM per_k", gathered(1)),
        ("SELECT DISTINCT c FROM per_k", gathered(1)),
        ("SELECT DISTINCT k, c FROM per_k", None),
        ("SELECT k, sum(x) AS x FROM per_k_too GROUP BY k", None),
        ("SELECT n, sum(x) AS x FROM per_k_too GROUP BY n", by(&[1])),
        ("SELECT n, k, sum(x) AS x FROM per_k_too GROUP BY n, k", None),
        ("SELECT upper(k) AS k, sum(x) AS x FROM per_k_too GROUP BY upper(k)", gathered(1)),
        ("SELECT a.k, b.x FROM per_k a JOIN per_k_too b ON a.k = b.k", None),
        ("SELECT a.k, b.x FROM per_k a, per_k_too b WHERE a.k = b.k", None),
        ("SELECT a.k, b.x FROM per_k a LEFT JOIN per_k_too b ON a.k = b.k", None),
        ("SELECT b.k, sum(b.x) AS x FROM per_k a LEFT JOIN per_k_too b ON a.k = b.k GROUP BY b.k", gathered(2)),
        ("SELECT a.k, a.c FROM per_k a WHERE a.k IN (SELECT k FROM per_k_too WHERE n = 1)", None),
        ("SELECT a.k, a.c FROM per_k a WHERE a.c > (SELECT avg(x) FROM per_k_too)", gathered(2)),
        ("SELECT a.k, b.x FROM per_k a JOIN per_k_too b ON a.c = b.n", gathered(2)),
        ("SELECT a.k, b.x FROM per_k a CROSS JOIN per_k_too b", gathered(2)),
        ("SELECT a.n, b.x FROM per_k_too a JOIN per_k_too b ON a.n = b.n", by(&[1])),
        ("SELECT p.k, team AS w FROM per_k p LEFT JOIN owners o ON p.k = o.k", None),
        ("SELECT o.k, p.c FROM owners o LEFT JOIN per_k p ON p.k = o.k", gathered(1)),
        ("SELECT k, c FROM per_k UNION ALL SELECT k, x FROM per_k_too", None),
        ("SELECT k, sum(c) AS c FROM (SELECT k, c FROM per_k UNION ALL SELECT k, x FROM per_k_too) GROUP BY k", None),
        ("SELECT n, c FROM by_n WHERE c > 1", by(&[0])),
        ("SELECT n, c FROM later", by(&[0])),
        ("SELECT sum(c) AS c FROM later GROUP BY n % 2", gathered(1)),
        ("SELECT a.n, b.x FROM by_n a LEFT JOIN logins_n b ON a.n = b.n", by(&[0, 0])),
        ("SELECT a.n, b.x FROM by_n a LEFT JOIN logins_n b ON a.c = b.c", gathered(2)),
        ("SELECT c, x FROM all_rows", gathered(1)),
    ];
    let wrong: Vec<String> = cases
        .into_iter()
        .map(|(sql, expected)| (sql, expected, placed(sql)))
        .filter(|(_, expected, found)| expected != found)
        .map(|(sql, expected, found)| format!("{sql}\n  expected {expected:?}\n  found    {found:?}"))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

//! Real models through the real ONNX Runtime: scores, explanations, and every way in which a model is refused.

mod common;

use std::{
    fs,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    sync::{Arc, LazyLock},
    thread,
};

use amoskys_scoring::{Model, Registry, Runtime, ScoringError, contributions_type, to_map_array};
use arrow::{
    array::{Array, ArrayRef, BooleanArray, Float64Array, Int64Array, StringArray, UInt32Array},
    datatypes::DataType,
};
use tempfile::TempDir;

/// One per process, as ONNX Runtime demands.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::load(&common::library()).expect("the installed library"));

fn open(folder: &Path) -> Result<Registry, ScoringError> {
    Registry::open(folder, &RUNTIME, NonZeroUsize::MIN)
}

fn good(name: &str) -> Arc<Model> {
    open(&common::data().join("good")).expect("the good models load").get(name).expect("a good model")
}

/// Two ordinary rows and two like attacks: many executions, short-lived, out of memory-backed folders.
fn rows() -> Vec<ArrayRef> {
    vec![
        Arc::new(Int64Array::from(vec![2, 3, 25, 18])),
        Arc::new(Float64Array::from(vec![1_000.0, 2_500.0, 100.0, 150.0])),
        Arc::new(UInt32Array::from(vec![0, 0, 1, 0])),
    ]
}

#[test]
fn both_kinds_of_model_score_attacks_above_ordinary_rows() {
    for name in ["tiny_boosted", "tiny_isolation"] {
        let scores = good(name).score(&rows()).expect("the rows fit the model");
        assert_eq!(scores.null_count(), 0);
        assert!(scores.values().iter().all(|score| (0.0..=1.0).contains(score)), "{name}: {scores:?}");
        let ordinary = scores.value(0).max(scores.value(1));
        let attacks = scores.value(2).min(scores.value(3));
        assert!(ordinary < attacks, "{name}: {scores:?}");
    }
}

/// A column of the shipped model for rows of a process under which `programs` different discovery commands ran.
fn burst(feature: &str, programs: &[i64]) -> ArrayRef {
    match feature {
        "distinct_comm" | "discovery_execs" | "distinct_discovery" => Arc::new(Int64Array::from(programs.to_vec())),
        _ => Arc::new(Int64Array::from(vec![0; programs.len()])),
    }
}

#[test]
fn the_shipped_model_scores_a_longer_burst_no_lower() {
    let shipped = std::path::absolute("../../models").expect("a current folder");
    let model = open(&shipped).expect("the shipped models load").get("process_behaviour").expect("is shipped");
    let programs: Vec<i64> = (0..=32).collect();
    let rows: Vec<ArrayRef> = model.features().iter().map(|feature| burst(&feature.name, &programs)).collect();
    let scores = model.score(&rows).expect("the rows fit the model");
    assert!(scores.values().is_sorted(), "{scores:?}");
    // `sql/detections/discovery_burst.sql` alerts above 0.7; a command or two is what people do.
    assert!(scores.value(2) < 0.3 && scores.value(8) > 0.7, "{scores:?}");
}

#[test]
fn a_row_scores_the_same_alone_and_among_others() {
    for name in ["tiny_boosted", "tiny_isolation"] {
        let model = good(name);
        let together = model.score(&rows()).expect("the rows fit the model");
        for row in 0..together.len() {
            let alone: Vec<ArrayRef> = rows().iter().map(|column| column.slice(row, 1)).collect();
            assert_eq!(model.score(&alone).expect("one row"), together.slice(row, 1), "{name} row {row}");
        }
    }
}

#[test]
fn more_rows_than_one_call_takes_score_the_same() {
    let model = good("tiny_boosted");
    let few = model.score(&rows()).expect("the rows fit the model");
    // 3 features: one call takes at most 2^20 / 3 rows.
    let times = 100_000;
    let many = rows().into_iter().map(|column| {
        let copies = vec![column.as_ref(); times];
        arrow::compute::concat(&copies).expect("columns of one type")
    });
    let many = model.score(&many.collect::<Vec<_>>()).expect("many rows");
    assert_eq!(many.len(), 4 * times);
    assert!(many.values().chunks(4).all(|four| four == few.values().as_ref()));
}

#[test]
fn rows_with_unknown_features_get_no_score_and_are_counted() {
    let model = good("tiny_boosted");
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from(vec![Some(2), None, Some(2), Some(2)])),
        Arc::new(Float64Array::from(vec![1_000.0, 1_000.0, f64::NAN, 1e300])),
        Arc::new(BooleanArray::from(vec![false; 4])),
    ];
    let scores = model.score(&columns).expect("unknown features are no error");
    assert_eq!(scores.iter().map(|score| score.is_some()).collect::<Vec<_>>(), [true, false, false, false]);
    assert_eq!(model.unscored_rows(), 3);
    let explained = model.explain(&columns, 3).expect("unknown features are no error");
    assert!(explained[1..].iter().all(Vec::is_empty));
    assert_eq!(model.unscored_rows(), 3);
}

#[test]
fn no_rows_are_fine() {
    let empty: Vec<ArrayRef> = rows().iter().map(|column| column.slice(0, 0)).collect();
    assert_eq!(good("tiny_boosted").score(&empty).expect("no rows").len(), 0);
    assert!(good("tiny_boosted").explain(&empty, 3).expect("no rows").is_empty());
}

#[test]
fn threads_share_a_model() {
    let folder = common::data().join("good");
    let sessions = NonZeroUsize::new(2).expect("two");
    let model = Registry::open(&folder, &RUNTIME, sessions).expect("loads").get("tiny_boosted").expect("there");
    let expected = model.score(&rows()).expect("the rows fit the model");
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..50).for_each(|_| assert_eq!(model.score(&rows()).expect("scores"), expected)));
        }
    });
}

#[test]
fn contributions_are_what_the_score_loses_at_the_baseline() {
    let model = good("tiny_boosted");
    let columns = rows();
    let scores = model.score(&columns).expect("the rows fit the model");
    let explained = model.explain(&columns, 10).expect("the rows fit the model");
    assert!(explained[0].is_empty(), "a row of baselines has nothing to explain: {explained:?}");
    assert!(explained[2].iter().any(|c| c.feature == "execs" && c.contribution > 0.1), "{explained:?}");
    for (row, contributions) in explained.iter().enumerate() {
        assert!(contributions.windows(2).all(|pair| pair[0].contribution.abs() >= pair[1].contribution.abs()));
        for contribution in contributions {
            let index = model.features().iter().position(|f| f.name == contribution.feature).expect("a feature");
            let mut changed = rows();
            changed[index] = Arc::new(Float64Array::from(vec![model.features()[index].baseline; 4]));
            let without = model.score(&changed).expect("the rows fit the model").value(row);
            assert!((scores.value(row) - without - contribution.contribution).abs() < 1e-9, "row {row}");
        }
    }
    let top = model.explain(&columns, 1).expect("the rows fit the model");
    assert_eq!(top[2], explained[2][..1]);
}

#[test]
fn contributions_become_a_map_column() {
    let model = good("tiny_boosted");
    let explained = model.explain(&rows(), 2).expect("the rows fit the model");
    let map = to_map_array(&explained).expect("a map");
    assert_eq!(map.data_type(), &contributions_type());
    assert_eq!(map.len(), 4);
    assert_eq!(map.value_length(0), 0);
    assert_eq!(map.value_length(2) as usize, explained[2].len());
}

#[test]
fn binds_features_by_name_whatever_else_is_there() {
    let model = good("tiny_boosted");
    let (text, number) = (DataType::Utf8, DataType::Int64);
    let columns = [("host_id", &text), ("tmpfs_execs", &number), ("execs", &number), ("mean_lifetime_us", &number)];
    assert_eq!(model.bind(&columns).expect("all features are there"), [2, 3, 1]);

    let columns = [("host_id", &text), ("tmpfs_exec", &number), ("execs", &text)];
    let message = model.bind(&columns).expect_err("nothing fits").to_string();
    for part in ["tiny_boosted", "`tmpfs_exec`?", "no column `mean_lifetime_us`", "CAST(execs AS DOUBLE)"] {
        assert!(message.contains(part), "{part} is not in: {message}");
    }
}

#[test]
fn refuses_arguments_of_wrong_number_type_or_length() {
    let model = good("tiny_boosted");
    let message = model.check(&[DataType::Int64, DataType::Utf8]).expect_err("two of three").to_string();
    assert!(message.contains("takes 3 features, 2 were given") && message.contains("`mean_lifetime_us`"), "{message}");
    let mut columns = rows();
    columns[1] = Arc::new(StringArray::from(vec!["a"; 4]));
    assert!(matches!(model.score(&columns), Err(ScoringError::Arguments { .. })));
    columns[1] = Arc::new(Float64Array::from(vec![1.0]));
    assert!(matches!(model.score(&columns), Err(ScoringError::Arguments { .. })));
}

#[test]
fn the_newest_version_is_the_one_with_the_greatest_number() {
    assert_eq!(good("tiny_isolation").version(), "10");
    let registry = open(&common::data().join("good")).expect("the good models load");
    let names: Vec<&str> = registry.models().map(|model| model.name()).collect();
    assert_eq!(names, ["tiny_boosted", "tiny_isolation"]);
}

#[test]
fn an_unknown_model_is_answered_with_those_there_are() {
    let registry = open(&common::data().join("good")).expect("the good models load");
    let message = registry.get("tiny_bosted").expect_err("a typo").to_string();
    assert!(message.contains("did you mean `tiny_boosted`?") && message.contains("tiny_isolation"), "{message}");
    let empty = tempfile::tempdir().expect("a temporary folder");
    let message = open(empty.path()).expect("no models are fine").get("x").expect_err("none").to_string();
    assert!(message.contains("holds no models"), "{message}");
}

/// A folder with one good model, to be spoiled.
struct Spoiled {
    folder: TempDir,
    version: PathBuf,
}

impl Spoiled {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let version = folder.path().join("tiny_boosted/2");
        common::copy_folder(&common::data().join("good/tiny_boosted/2"), &version);
        Self { folder, version }
    }

    fn edit(&self, from: &str, to: &str) {
        let path = self.version.join("model.toml");
        let text = fs::read_to_string(&path).expect("model.toml is there");
        assert!(text.contains(from), "model.toml has no {from}");
        fs::write(path, text.replace(from, to)).expect("a writable folder");
    }

    /// Puts another ONNX file in place, with a matching SHA-256 and output.
    fn replace_onnx(&self, name: &str) {
        let onnx = fs::read(common::data().join("bad").join(name)).expect("test data is there");
        fs::write(self.version.join("model.onnx"), &onnx).expect("a writable folder");
        let path = self.version.join("model.toml");
        let text = fs::read_to_string(&path).expect("model.toml is there");
        let lines = text.lines().map(|line| match line.split(" = ").next() {
            Some("sha256") => format!("sha256 = \"{}\"", sha256(&onnx)),
            Some("tensor") => "tensor = \"score\"".to_owned(),
            Some("column") => "column = 0".to_owned(),
            Some("baseline") => "baseline = -1.0".to_owned(),
            Some("baseline_score") => "baseline_score = 0.5".to_owned(),
            Some("kind") => "kind = \"raw\"\nzero_at = 0.0\none_at = 1.0".to_owned(),
            _ => line.to_owned(),
        });
        fs::write(path, lines.collect::<Vec<_>>().join("\n")).expect("a writable folder");
    }

    #[track_caller]
    fn refused(&self, parts: &[&str]) {
        let error = open(self.folder.path()).expect_err("the model is spoiled");
        let message = error.to_string();
        for part in parts {
            assert!(message.contains(part), "{part} is not in: {message}");
        }
    }
}

fn sha256(bytes: &[u8]) -> String {
    use sha2::{Digest, Sha256};
    hex::encode(Sha256::digest(bytes))
}

#[test]
fn refuses_a_missing_folder_and_missing_files() {
    let message = open(Path::new("/nowhere/models")).expect_err("no folder").to_string();
    assert!(message.contains("/nowhere/models") && message.contains("folder of models"), "{message}");
    for file in ["model.onnx", "model.toml"] {
        let spoiled = Spoiled::new();
        fs::remove_file(spoiled.version.join(file)).expect("it was there");
        spoiled.refused(&[file, "No such file"]);
    }
    let spoiled = Spoiled::new();
    fs::remove_dir_all(&spoiled.version).expect("it was there");
    spoiled.refused(&["tiny_boosted", "holds no version"]);
}

#[test]
fn refuses_an_altered_file() {
    let spoiled = Spoiled::new();
    let path = spoiled.version.join("model.onnx");
    let mut onnx = fs::read(&path).expect("it is there");
    onnx[100] ^= 1;
    fs::write(&path, &onnx).expect("a writable folder");
    spoiled.refused(&["model.onnx was altered", &sha256(&onnx), "make model"]);
}

#[test]
fn refuses_a_version_folder_that_is_none_or_another() {
    let spoiled = Spoiled::new();
    fs::create_dir(spoiled.folder.path().join("tiny_boosted/latest")).expect("a writable folder");
    spoiled.refused(&["`latest` is not a version"]);
    let spoiled = Spoiled::new();
    fs::rename(&spoiled.version, spoiled.folder.path().join("tiny_boosted/3")).expect("a writable folder");
    spoiled.refused(&["tiny_boosted/3", "is for tiny_boosted/2"]);
}

#[test]
fn refuses_another_number_of_features() {
    let spoiled = Spoiled::new();
    spoiled.edit("[[feature]]\nname = \"tmpfs_execs\"\nbaseline = 0.0", "");
    spoiled.refused(&["model.onnx", "takes 3 features, model.toml lists 2"]);
}

#[test]
fn refuses_another_output() {
    let spoiled = Spoiled::new();
    spoiled.edit("\"probabilities\"", "\"probability\"");
    spoiled.refused(&["no output tensor `probability`, only probabilities"]);
    let spoiled = Spoiled::new();
    spoiled.edit("column = 1", "column = 2");
    spoiled.refused(&["has no column 2"]);
}

#[test]
fn refuses_a_file_that_is_not_onnx() {
    let spoiled = Spoiled::new();
    fs::write(spoiled.version.join("model.onnx"), b"hello").expect("a writable folder");
    let sha = sha256(&fs::read(common::data().join("good/tiny_boosted/2/model.onnx")).expect("test data is there"));
    spoiled.edit(&sha, &sha256(b"hello"));
    spoiled.refused(&["model.onnx cannot be used", "ONNX Runtime refuses it"]);
}

#[test]
fn refuses_double_inputs() {
    let spoiled = Spoiled::new();
    spoiled.replace_onnx("double.onnx");
    spoiled.refused(&["input `features` is of type f64; it must be float32"]);
}

#[test]
fn refuses_a_model_that_answers_nan_for_its_baselines() {
    let spoiled = Spoiled::new();
    spoiled.replace_onnx("nan.onnx");
    spoiled.refused(&["answers NaN for its own baselines"]);
}

#[test]
fn refuses_a_model_that_scores_its_baselines_otherwise_or_out_of_range() {
    let spoiled = Spoiled::new();
    spoiled.replace_onnx("identity.onnx");
    spoiled.refused(&["scores its own baselines 0, model.toml says 0.5"]);
    let spoiled = Spoiled::new();
    spoiled.replace_onnx("identity.onnx");
    spoiled.edit("kind = \"raw\"\nzero_at = 0.0\none_at = 1.0", "kind = \"probability\"");
    spoiled.refused(&["answers -1 for its own baselines"]);
}

#[test]
fn refuses_a_baseline_that_is_not_a_number() {
    let spoiled = Spoiled::new();
    spoiled.edit("baseline = 0.0", "baseline = nan");
    spoiled.refused(&["feature.baseline: nan is not a finite number"]);
}

#[test]
fn reports_every_broken_model_at_once() {
    let spoiled = Spoiled::new();
    spoiled.edit("threshold = 0.7", "threshold = 7");
    fs::create_dir(spoiled.folder.path().join("empty")).expect("a writable folder");
    spoiled.refused(&["2 models cannot be used", "empty", "threshold: 7 is not a number from 0 to 1"]);
}

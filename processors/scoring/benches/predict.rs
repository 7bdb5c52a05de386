//! What a row costs in a batch: 100 trees of depth 6 over 500 features, one thread, batches as windows close them.
//!
//! The model is big and random, so it is not committed: `training/bench-model FOLDER` writes it, by default into the
//! cache folder (`…/amoskys/bench-models`); AMOSKYS_BENCH_MODELS names another.

use std::{env, hint::black_box, num::NonZeroUsize, path::PathBuf, sync::Arc};

use amoskys_scoring::{Model, Registry, Runtime};
use arrow::array::{ArrayRef, Float64Array};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

fn main_group(criterion: &mut Criterion) {
    let model = model();
    let mut group = criterion.benchmark_group("predict_100_trees_depth_6_500_features");
    for rows in [1, 100, 1_000, 10_000] {
        let columns = columns(rows, model.features().len());
        group.throughput(Throughput::Elements(rows as u64));
        group.bench_function(BenchmarkId::new("score", rows), |bencher| {
            bencher.iter(|| model.score(black_box(&columns)).expect("the rows fit the model"))
        });
    }
    let one = columns(1, model.features().len());
    group.throughput(Throughput::Elements(1));
    group.bench_function("explain/1", |bencher| bencher.iter(|| model.explain(black_box(&one), 5).expect("one row")));
    group.finish();
}

fn model() -> Arc<Model> {
    let named = |variable| env::var_os(variable).map(PathBuf::from);
    let cache = named("XDG_CACHE_HOME").or(env::home_dir().map(|home| home.join(".cache"))).expect("HOME is set");
    let library = named("AMOSKYS_ONNXRUNTIME").unwrap_or(cache.join("amoskys/onnxruntime-1.32.0/libonnxruntime.so"));
    let models = named("AMOSKYS_BENCH_MODELS").unwrap_or(cache.join("amoskys/bench-models"));
    let runtime = Runtime::load(&library).expect("the library that `make setup` installs");
    let registry = Registry::open(&models, &runtime, NonZeroUsize::MIN).expect("run `training/bench-model` first");
    registry.get("bench").expect("run `training/bench-model` first")
}

/// Numbers that reach all branches: a fixed sequence, spread like the standard normal the model was trained on.
fn columns(rows: usize, features: usize) -> Vec<ArrayRef> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut uniform = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 11) as f64 / (1_u64 << 53) as f64
    };
    let mut normal = || (0..12).map(|_| uniform()).sum::<f64>() - 6.0;
    (0..features).map(|_| Arc::new(Float64Array::from_iter_values((0..rows).map(|_| normal()))) as ArrayRef).collect()
}

criterion_group!(benches, main_group);
criterion_main!(benches);

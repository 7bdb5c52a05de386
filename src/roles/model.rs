//! Models as SQL sees them: joins `scoring` (which runs them) and `functions` (which calls them).

use amoskys_functions::model::{Lookup, Model};
use amoskys_scoring::{Registry, Runtime, contributions_type, to_map_array};
use std::{
    num::NonZeroUsize,
    path::PathBuf,
    sync::{Arc, OnceLock},
};

/// Where models and ONNX Runtime are.
#[derive(Debug, Clone)]
pub struct ModelPlace {
    pub models_dir: PathBuf,
    /// `None`: AMOSKYS_ONNXRUNTIME, then where `make setup` puts it.
    pub onnxruntime: Option<PathBuf>,
}

/// Features that an explanation names.
const EXPLAINED_FEATURES: usize = 5;

/// Opens models when the first SQL asks for one; SQL without models needs no ONNX Runtime.
pub struct Models {
    place: ModelPlace,
    /// Loaded once in a process.
    runtime: OnceLock<Result<Runtime, String>>,
}

impl Models {
    pub fn new(place: ModelPlace) -> Arc<Self> {
        Arc::new(Self { place, runtime: OnceLock::new() })
    }

    /// Models with sessions of their own: workers share none.
    pub fn lookup(self: &Arc<Self>) -> Arc<Lookup> {
        let (models, opened) = (self.clone(), OnceLock::<Result<Registry, String>>::new());
        Arc::new(move |name: &str| {
            let registry = opened.get_or_init(|| models.open()).as_ref().map_err(Clone::clone)?;
            Ok(bridge(registry.get(name).map_err(|error| error.to_string())?))
        })
    }

    fn open(&self) -> Result<Registry, String> {
        let runtime = self.runtime.get_or_init(|| load(&self.place)).as_ref().map_err(Clone::clone)?;
        Registry::open(&self.place.models_dir, runtime, NonZeroUsize::MIN).map_err(|error| error.to_string())
    }
}

fn load(place: &ModelPlace) -> Result<Runtime, String> {
    let path = place.onnxruntime.clone().or_else(|| std::env::var_os("AMOSKYS_ONNXRUNTIME").map(PathBuf::from));
    let path =
        path.or_else(installed).ok_or("models need ONNX Runtime: set AMOSKYS_ONNXRUNTIME to libonnxruntime.so")?;
    Runtime::load(&path).map_err(|error| error.to_string())
}

/// Where `make setup` puts it.
fn installed() -> Option<PathBuf> {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")))?;
    Some(cache.join("amoskys/onnxruntime-1.32.0/libonnxruntime.so"))
}

fn bridge(model: Arc<amoskys_scoring::Model>) -> Arc<Model> {
    let (score, explain) = (model.clone(), model.clone());
    Arc::new(Model {
        name: model.name().to_owned(),
        version: model.version().to_owned(),
        sha256: model.sha256().to_owned(),
        features: model.features().iter().map(|feature| feature.name.clone()).collect(),
        score: Box::new(move |columns| {
            let scores = score.score(columns).map_err(|error| error.to_string())?;
            Ok(Arc::new(scores))
        }),
        explain: Box::new(move |columns| {
            let rows = explain.explain(columns, EXPLAINED_FEATURES).map_err(|error| error.to_string())?;
            Ok(Arc::new(to_map_array(&rows).map_err(|error| error.to_string())?))
        }),
        explain_type: contributions_type(),
    })
}

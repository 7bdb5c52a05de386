//! ONNX Runtime sessions of one model: checked against the manifest, shared by threads.
//!
//! A session runs one call at a time (ONNX Runtime's allocators and statistics are not safe otherwise), so a model has
//! as many as there are workers. Each uses the calling thread only: one intra-op thread, no spinning, no arena that
//! keeps the largest window's memory for good.
//!
//! Limits: one float32 input `[rows, features]`; the output tensor is float32 `[rows]` or `[rows, columns]`.

use std::{
    num::NonZeroUsize,
    sync::{
        Mutex, MutexGuard, PoisonError, TryLockError,
        atomic::{AtomicUsize, Ordering},
    },
};

use ort::{
    ep,
    session::{Session, builder::GraphOptimizationLevel},
    value::{Outlet, TensorElementType, TensorRef, ValueType},
};

use crate::{Manifest, Runtime};

/// Bounds the matrix handed to one call: 4 MiB.
const CELLS_PER_CALL_MAX: usize = 1 << 20;

pub(crate) struct Sessions {
    sessions: Vec<Mutex<Session>>,
    next: AtomicUsize,
    features: usize,
    tensor: String,
    column: usize,
}

impl Sessions {
    /// Errors say in words how the ONNX file and the manifest disagree.
    pub fn open(runtime: &Runtime, onnx: &[u8], manifest: &Manifest, count: NonZeroUsize) -> Result<Self, String> {
        let first = open_session(runtime, onnx).map_err(|error| format!("ONNX Runtime refuses it: {error}"))?;
        check_input(first.inputs(), manifest.features.len())?;
        check_output(first.outputs(), manifest)?;
        let mut sessions = vec![Mutex::new(first)];
        for _ in 1..count.get() {
            sessions.push(Mutex::new(open_session(runtime, onnx).map_err(|error| error.to_string())?));
        }
        let Manifest { features, output, .. } = manifest;
        let next = AtomicUsize::new(0);
        Ok(Self { sessions, next, features: features.len(), tensor: output.tensor.clone(), column: output.column })
    }

    /// How many rows a call may have.
    pub fn rows_per_call_max(&self) -> usize {
        (CELLS_PER_CALL_MAX / self.features).max(1)
    }

    /// Runs the rows in `cells` and appends one raw value per row to `raw`. Waits if every session is busy.
    pub fn run(&self, cells: &[f32], raw: &mut Vec<f32>) -> Result<(), String> {
        let rows = cells.len() / self.features;
        let mut session = self.free_session();
        let input = TensorRef::from_array_view(([rows, self.features], cells)).map_err(|error| error.to_string())?;
        let outputs = session.run(ort::inputs![input]).map_err(|error| error.to_string())?;
        let tensor = outputs.get(&self.tensor).ok_or("its output tensor is gone")?;
        let (_, values) = tensor.try_extract_tensor::<f32>().map_err(|error| error.to_string())?;
        let columns = values.len() / rows.max(1);
        if columns * rows != values.len() || self.column >= columns.max(1) {
            return Err(format!("it gave {} values for {rows} rows", values.len()));
        }
        raw.extend(values.iter().skip(self.column).step_by(columns.max(1)));
        Ok(())
    }

    fn free_session(&self) -> MutexGuard<'_, Session> {
        for session in &self.sessions {
            match session.try_lock() {
                Ok(session) => return session,
                // A panic elsewhere leaves no half-written state in a session: its inputs are borrowed per call.
                Err(TryLockError::Poisoned(poisoned)) => return poisoned.into_inner(),
                Err(TryLockError::WouldBlock) => {}
            }
        }
        let turn = self.next.fetch_add(1, Ordering::Relaxed) % self.sessions.len();
        self.sessions[turn].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn open_session(runtime: &Runtime, onnx: &[u8]) -> ort::Result<Session> {
    Session::builder(runtime.environment())?
        .with_execution_providers([ep::CPU::default().with_arena_allocator(false).build()])?
        .with_optimization_level(GraphOptimizationLevel::All)?
        .with_intra_threads(1)?
        .with_inter_threads(1)?
        .with_intra_op_spinning(false)?
        .with_inter_op_spinning(false)?
        // Patterns are remembered per input shape, and every window has another number of rows.
        .with_memory_pattern(false)?
        .commit_from_memory(onnx)
}

fn check_input(inputs: &[Outlet], features: usize) -> Result<(), String> {
    let [input] = inputs else {
        return Err(format!("it has {} inputs; one float32 tensor [rows, features] is supported", inputs.len()));
    };
    let ValueType::Tensor { ty, shape, .. } = input.dtype() else {
        return Err(format!("its input `{}` is not a tensor", input.name()));
    };
    if *ty != TensorElementType::Float32 {
        return Err(format!("its input `{}` is of type {ty}; it must be float32", input.name()));
    }
    match shape[..] {
        [-1, width] if width == features as i64 => Ok(()),
        [-1, width] if width > 0 => Err(format!("it takes {width} features, model.toml lists {features}")),
        _ => Err(format!("its input `{}` is of shape {shape:?}; it must be [-1, {features}]", input.name())),
    }
}

fn check_output(outputs: &[Outlet], manifest: &Manifest) -> Result<(), String> {
    let wanted = &manifest.output.tensor;
    let Some(output) = outputs.iter().find(|output| output.name() == wanted) else {
        let names: Vec<&str> = outputs.iter().map(Outlet::name).collect();
        return Err(format!("it has no output tensor `{wanted}`, only {}", names.join(", ")));
    };
    let ValueType::Tensor { ty, shape, .. } = output.dtype() else {
        return Err(format!("its output `{wanted}` is not a tensor (export without ZipMap)"));
    };
    if *ty != TensorElementType::Float32 {
        return Err(format!("its output `{wanted}` is of type {ty}; it must be float32"));
    }
    match shape[..] {
        [_] if manifest.output.column == 0 => Ok(()),
        [_, columns] if columns < 0 || (manifest.output.column as i64) < columns => Ok(()),
        _ => Err(format!("its output `{wanted}` of shape {shape:?} has no column {}", manifest.output.column)),
    }
}

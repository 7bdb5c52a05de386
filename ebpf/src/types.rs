//! The kernel's own types (BTF), by which programs find its fields and functions: read once for all programs that are loaded.
//!
//! Read they are 20 MB and more, so there is one [`KernelTypes`] for all that is loaded, and it is dropped when that is done: programs
//! that are loaded need it no more, whatever is attached, detached or wanted of them later.
//! Deliberately not here: loading. Limits: `/sys/kernel/btf/vmlinux`. Each loader of aya reads them by itself when it is made, although it
//! is given these; so as many as are foreseen are made, and what they read is dropped, before these are read, and two are never there
//! at once.

use crate::ProbeError;
use aya::{Btf, EbpfLoader};
use std::cell::{OnceCell, RefCell};

/// The kernel's types, read when the first programs are loaded.
pub struct KernelTypes {
    loads: usize,
    loaders: RefCell<Vec<EbpfLoader<'static>>>,
    btf: OnceCell<Btf>,
}

impl KernelTypes {
    /// `loads`: how many of [`Probe`](crate::Probe), [`Activity`](crate::Activity) and [`Processes`](crate::Processes) will be loaded. More
    /// can be, for the memory of two readings.
    pub fn for_loads(loads: usize) -> Self {
        Self { loads, loaders: RefCell::default(), btf: OnceCell::new() }
    }

    /// What one of them is loaded with.
    ///
    /// # Errors
    /// The kernel has none.
    pub(crate) fn loader(&self) -> Result<(&Btf, EbpfLoader<'_>), ProbeError> {
        let btf = match self.btf.get() {
            Some(btf) => btf,
            None => {
                *self.loaders.borrow_mut() = (0..self.loads).map(|_| loader_without_types()).collect();
                let btf = Btf::from_sys_fs().map_err(|_| ProbeError::NoBtf)?;
                self.btf.get_or_init(|| btf)
            }
        };
        let mut loader: EbpfLoader<'_> = self.loaders.borrow_mut().pop().unwrap_or_else(loader_without_types);
        loader.btf(Some(btf));
        Ok((btf, loader))
    }
}

fn loader_without_types() -> EbpfLoader<'static> {
    let mut loader = EbpfLoader::new();
    loader.btf(None);
    loader
}

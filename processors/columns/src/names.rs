//! The names of an enum's values, ready to be copied into a column.

use arrow::buffer::Buffer;
use prost_reflect::EnumDescriptor;

use crate::views::{inline_view, long_view};

/// The names of an enum's values as string views, ready to be copied into a column.
#[derive(Debug)]
pub(crate) struct EnumNames {
    /// By number, from 0; 0 where there is no name.
    dense: Vec<u128>,
    sparse: Vec<(i32, u128)>,
    /// Names that do not fit into a view.
    pub block: Buffer,
}

/// Numbers up to this one are looked up directly.
const DENSE_ENUM_MAX: i32 = 1023;

impl EnumNames {
    pub(crate) fn new(descriptor: &EnumDescriptor) -> Self {
        let mut block = Vec::new();
        let (mut dense, mut sparse) = (Vec::new(), Vec::new());
        for value in descriptor.values() {
            let name = value.name().as_bytes();
            let view = if name.len() <= 12 {
                inline_view(name)
            } else {
                block.extend_from_slice(name);
                long_view(name, 0, block.len() - name.len())
            };
            let number = value.number();
            if (0..=DENSE_ENUM_MAX).contains(&number) {
                let at = number as usize;
                dense.resize(dense.len().max(at + 1), 0);
                // Of several names of a number the first counts.
                dense[at] = if dense[at] == 0 { view } else { dense[at] };
            } else if !sparse.iter().any(|(n, _)| *n == number) {
                sparse.push((number, view));
            }
        }
        sparse.sort_by_key(|(number, _)| *number);
        Self { dense, sparse, block: Buffer::from_vec(block) }
    }

    #[inline(always)]
    pub(crate) fn view(&self, number: i32) -> u128 {
        match self.dense.get(number as u32 as usize) {
            Some(&view) if view != 0 => view,
            _ => self.rare(number),
        }
    }

    #[cold]
    fn rare(&self, number: i32) -> u128 {
        match self.sparse.binary_search_by_key(&number, |(number, _)| *number) {
            Ok(at) => self.sparse[at].1,
            Err(_) => inline_view(number.to_string().as_bytes()),
        }
    }
}

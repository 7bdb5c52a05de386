//! Makes Arrow arrays of what a store holds, without copying values.

use std::sync::Arc;

use arrow::array::{
    ArrayData, ArrayRef, BinaryViewArray, BooleanArray, ListArray, MapArray, RecordBatch, RecordBatchOptions,
    StringViewArray, StructArray, make_array,
};
use arrow::buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::compute::filter;
use arrow::datatypes::{DataType, SchemaRef};
use arrow::error::ArrowError;

use crate::plan::{NONE, Shape};
use crate::store::{List, Store};

/// Takes the rows out of `store`, which is empty afterwards.
///
/// An error is a fault of this crate: shapes and schema come from the same message type.
pub(crate) fn batch(schema: SchemaRef, shapes: &[Shape], store: &mut Store) -> Result<RecordBatch, ArrowError> {
    let rows = store.domains[0].len;
    let columns: Result<Vec<ArrayRef>, ArrowError> = (schema.fields().iter().zip(shapes))
        .map(|(field, shape)| array(shape, field.data_type(), store, rows, None))
        .collect();
    store.reset();
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(schema, columns?, &options)
}

/// `above` says where an enclosing struct is null.
fn array(
    shape: &Shape,
    data_type: &DataType,
    store: &mut Store,
    rows: usize,
    above: Option<&NullBuffer>,
) -> Result<ArrayRef, ArrowError> {
    Ok(match shape {
        Shape::Bool { column, present } => {
            let nulls = nulls(*present, store, rows, above);
            let values = bits(&store.bytes[usize::from(*column)], rows);
            Arc::new(BooleanArray::new(values, nulls))
        }
        Shape::Word { column, present } => {
            let nulls = nulls(*present, store, rows, above);
            let mut values = std::mem::take(&mut store.words[usize::from(*column)]);
            values.truncate(rows);
            primitive(data_type, rows, nulls, Buffer::from_vec(values))?
        }
        Shape::Long { column, present } => {
            let nulls = nulls(*present, store, rows, above);
            let mut values = std::mem::take(&mut store.longs[usize::from(*column)]);
            values.truncate(rows);
            primitive(data_type, rows, nulls, Buffer::from_vec(values))?
        }
        Shape::View { column, present } => {
            let nulls = nulls(*present, store, rows, above);
            let (mut values, blocks) = store.views[usize::from(*column)].take();
            values.truncate(rows);
            views(data_type, values.into(), blocks, nulls)
        }
        Shape::Struct { children, present } => {
            let nulls = nulls(*present, store, rows, above);
            let DataType::Struct(fields) = data_type else { return Err(mismatch(data_type)) };
            let children: Result<Vec<ArrayRef>, ArrowError> = (fields.iter().zip(children))
                .map(|(field, child)| array(child, field.data_type(), store, rows, nulls.as_ref()))
                .collect();
            Arc::new(StructArray::try_new_with_length(fields.clone(), children?, nulls, rows)?)
        }
        Shape::List { list, element } => {
            let DataType::List(field) = data_type else { return Err(mismatch(data_type)) };
            let (offsets, elements) = take_list(*list, store);
            let values = array(element, field.data_type(), store, elements, None)?;
            Arc::new(ListArray::try_new(Arc::clone(field), offsets, values, above.cloned())?)
        }
        Shape::Map { list, key, value } => {
            let DataType::Map(field, false) = data_type else { return Err(mismatch(data_type)) };
            let DataType::Struct(fields) = field.data_type() else { return Err(mismatch(data_type)) };
            let dead = std::mem::take(&mut store.lists[usize::from(*list)].dead);
            let (offsets, elements) = take_list(*list, store);
            let columns = (fields.iter().zip([key, value]))
                .map(|(field, shape)| array(shape, field.data_type(), store, elements, None))
                .collect::<Result<Vec<_>, _>>()?;
            let (offsets, columns) = without(&dead, offsets, columns, elements)?;
            let entries = StructArray::try_new(fields.clone(), columns, None)?;
            Arc::new(MapArray::try_new(Arc::clone(field), offsets, entries, above.cloned(), false)?)
        }
    })
}

/// Offsets of a list, and the number of its elements.
fn take_list(list: u16, store: &mut Store) -> (OffsetBuffer<i32>, usize) {
    let List { offsets, elements, .. } = &mut store.lists[usize::from(list)];
    let offsets = ScalarBuffer::from(std::mem::take(offsets));
    (OffsetBuffer::new(offsets), store.domains[usize::from(*elements)].len)
}

/// Map entries without those that do not count.
fn without(
    dead: &[u32],
    offsets: OffsetBuffer<i32>,
    columns: Vec<ArrayRef>,
    elements: usize,
) -> Result<(OffsetBuffer<i32>, Vec<ArrayRef>), ArrowError> {
    if dead.is_empty() {
        return Ok((offsets, columns));
    }
    let mut alive = vec![true; elements];
    dead.iter().for_each(|row| alive[*row as usize] = false);
    let alive = BooleanArray::from(alive);
    let columns = columns.iter().map(|column| filter(column, &alive)).collect::<Result<_, _>>()?;
    let kept = |offset: &i32| offset - dead.partition_point(|row| (*row as i32) < *offset) as i32;
    Ok((OffsetBuffer::new(offsets.iter().map(kept).collect()), columns))
}

fn primitive(
    data_type: &DataType,
    rows: usize,
    nulls: Option<NullBuffer>,
    values: Buffer,
) -> Result<ArrayRef, ArrowError> {
    let data = ArrayData::builder(data_type.clone()).len(rows).nulls(nulls).add_buffer(values);
    Ok(make_array(data.build()?))
}

#[allow(unsafe_code)]
fn views(data_type: &DataType, values: ScalarBuffer<u128>, blocks: Vec<Buffer>, nulls: Option<NullBuffer>) -> ArrayRef {
    // SAFETY: views come from `inline_view`, `long_view` and `text::short` only, which write the length, the prefix and
    // zeros behind short values as the format wants; block and offset of a long one are those where its bytes were
    // appended, and a block is only ever cut where a failed record had appended, whose views are blanked. Views of a
    // text column are of bytes that `text::view` has checked, of enum names or of digits, so they are UTF-8.
    unsafe {
        match data_type {
            DataType::Utf8View => Arc::new(StringViewArray::new_unchecked(values, blocks, nulls)),
            _ => Arc::new(BinaryViewArray::new_unchecked(values, blocks, nulls)),
        }
    }
}

/// Where a column is null: where its own presence says so, and where an enclosing struct is.
fn nulls(present: u16, store: &Store, rows: usize, above: Option<&NullBuffer>) -> Option<NullBuffer> {
    let own = (present != NONE).then(|| NullBuffer::new(bits(&store.bytes[usize::from(present)], rows)));
    NullBuffer::union(own.as_ref(), above).filter(|nulls| nulls.null_count() > 0)
}

fn bits(bytes: &[u8], rows: usize) -> BooleanBuffer {
    let bytes = &bytes[..rows];
    BooleanBuffer::collect_bool(rows, |row| bytes[row] != 0)
}

#[cold]
fn mismatch(data_type: &DataType) -> ArrowError {
    ArrowError::SchemaError(format!("a decoder's column is not laid out as {data_type}"))
}

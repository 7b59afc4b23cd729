//! Batches whose buffers are compressed: no row of them can be read without unpacking its column.

use std::collections::HashMap;
use std::io::BufReader;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type, UInt32Type,
    UInt64Type,
};
use arrow_array::{Array, RecordBatch};
use arrow_buffer::Buffer;
use arrow_schema::Schema;

use super::file::Positioned;
use super::index::Shard;
use super::layout::{Kind, Layout};
use super::record::{Fault, Record, Value};
use crate::ipc;
use crate::read::memory;

/// The most bytes of a batch, as it is and unpacked: what one unpacked batch may take of the memory.
const MOST: u64 = 256 << 20;

/// Checks that the columns asked for do not claim more than may be unpacked.
pub(super) fn check(file: &Positioned, layout: &Layout) -> Result<(), Fault> {
    let packed = layout.place.bytes;
    let most = memory(packed).min(MOST);
    let mut claimed = 0u64;
    for span in layout.spans().filter(|span| span.bytes >= 8) {
        let mut unpacked = [0; 8];
        file.read_exact(span.at, &mut unpacked)?;
        // Less than nothing says that this buffer is not packed.
        let bytes = u64::try_from(i64::from_le_bytes(unpacked)).unwrap_or(span.bytes);
        claimed = claimed.saturating_add(bytes);
    }
    if packed > MOST || claimed > most {
        return Err(Fault::Wrong(format!(
            "its {packed} bytes claim {claimed}, unpacked, and at most {most} are unpacked at once; \
             write smaller batches, or do not compress them"
        )));
    }
    Ok(())
}

/// Unpacks the columns asked for.
pub(super) fn unpack(shard: &Shard, layout: &Layout) -> Result<RecordBatch, Fault> {
    let Some(schema) = &shard.schema else {
        return Err(Fault::Wrong("the file has changed since it was opened; open it again".into()));
    };
    check(&shard.file, layout)?;
    // The decoder checks what it meets, but panics in places; a broken file must not end the program.
    let unpacked = catch_unwind(AssertUnwindSafe(|| decode(shard, schema, layout)));
    let batch = unpacked.unwrap_or_else(|_| Err(damaged("its columns do not decode")))?;
    if batch.num_rows() as u64 == layout.rows && batch.num_columns() == shard.slots.len() {
        Ok(batch)
    } else {
        Err(damaged("it has another number of rows than its head says"))
    }
}

fn damaged(what: impl std::fmt::Display) -> Fault {
    Fault::Wrong(format!("{what}; the file is damaged"))
}

fn decode(shard: &Shard, schema: &Arc<Schema>, layout: &Layout) -> Result<RecordBatch, Fault> {
    let (file, place) = (&shard.file, layout.place);
    let mut head = Vec::new();
    let mut bytes = BufReader::with_capacity(4096, file.reader(place.at));
    let found = ipc::next(&mut bytes, file.length(), false, &mut head)?;
    let batch =
        found.filter(|(at, _)| *at == place).and_then(|(_, message)| message.header_as_record_batch());
    let batch = batch.ok_or_else(|| damaged("its head is another one now"))?;
    // What is not asked for stays zero, and unread.
    let mut body = vec![0; place.bytes as usize];
    for span in layout.spans() {
        let from = (span.at - place.body) as usize;
        file.read_exact(span.at, &mut body[from..from + span.bytes as usize])?;
    }
    let columns: Vec<usize> = shard.slots.iter().map(|slot| slot.column).collect();
    let none = HashMap::new();
    arrow_ipc::reader::read_record_batch(
        &Buffer::from_vec(body),
        batch,
        schema.clone(),
        &none,
        Some(&columns),
        &shard.version,
    )
    .map_err(damaged)
}

/// A row of an unpacked batch; `at` is below its number of rows.
pub(super) fn record(batch: &RecordBatch, kinds: &[Kind], at: usize) -> Result<Record, Fault> {
    let values = batch.columns().iter().zip(kinds).map(|(column, kind)| value(column.as_ref(), *kind, at));
    Ok(Record { values: values.collect::<Result<_, _>>()? })
}

fn value(array: &dyn Array, kind: Kind, at: usize) -> Result<Value, Fault> {
    if array.is_null(at) {
        return Ok(Value::Null);
    }
    macro_rules! number {
        ($kind:ty) => {
            array.as_primitive::<$kind>().value(at).into()
        };
    }
    Ok(match kind {
        Kind::Text(4) => Value::Text(array.as_string::<i32>().value(at).into()),
        Kind::Text(_) => Value::Text(array.as_string::<i64>().value(at).into()),
        Kind::View => Value::Text(array.as_string_view().value(at).into()),
        Kind::Bool => Value::Bool(array.as_boolean().value(at)),
        Kind::Int(1) => Value::Int(number!(Int8Type)),
        Kind::Int(2) => Value::Int(number!(Int16Type)),
        Kind::Int(4) => Value::Int(number!(Int32Type)),
        Kind::Int(_) => Value::Int(number!(Int64Type)),
        Kind::Unsigned(1) => Value::Int(number!(UInt8Type)),
        Kind::Unsigned(2) => Value::Int(number!(UInt16Type)),
        Kind::Unsigned(4) => Value::Int(number!(UInt32Type)),
        Kind::Unsigned(_) => {
            let number = array.as_primitive::<UInt64Type>().value(at);
            let signed = i64::try_from(number);
            Value::Int(
                signed.map_err(|_| Fault::Wrong(format!("the number {number} is above {}", i64::MAX)))?,
            )
        }
        Kind::Float(4) => Value::Float(number!(Float32Type)),
        Kind::Float(_) => Value::Float(number!(Float64Type)),
    })
}

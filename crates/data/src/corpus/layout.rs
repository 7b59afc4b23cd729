//! Where the values of the columns asked for lie in a record batch, from its head alone.
//!
//! A head names a node for each column and a run of buffers: which ones are a column's follows from the types of the columns
//! before it. Reference: <https://arrow.apache.org/docs/format/Columnar.html#recordbatch-message>.

use arrow_ipc::{MetadataVersion, RecordBatch};
use arrow_schema::{DataType, Field, Schema, UnionMode};

use crate::ipc::Place;

/// How the values of a column are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Texts with offsets of so many bytes, 4 or 8.
    Text(u8),
    /// Texts that are short in their views and else lie in one of several buffers.
    View,
    /// Bits.
    Bool,
    /// Whole numbers of so many bytes.
    Int(u8),
    /// Whole numbers without a sign.
    Unsigned(u8),
    /// Numbers of 4 or 8 bytes.
    Float(u8),
}

impl Kind {
    /// How a column of this type is read; `None` if it is not.
    pub fn of(kind: &DataType) -> Option<Self> {
        Some(match kind {
            DataType::Utf8 => Kind::Text(4),
            DataType::LargeUtf8 => Kind::Text(8),
            DataType::Utf8View => Kind::View,
            DataType::Boolean => Kind::Bool,
            DataType::Int8 => Kind::Int(1),
            DataType::Int16 => Kind::Int(2),
            DataType::Int32 => Kind::Int(4),
            DataType::Int64 => Kind::Int(8),
            DataType::UInt8 => Kind::Unsigned(1),
            DataType::UInt16 => Kind::Unsigned(2),
            DataType::UInt32 => Kind::Unsigned(4),
            DataType::UInt64 => Kind::Unsigned(8),
            DataType::Float32 => Kind::Float(4),
            DataType::Float64 => Kind::Float(8),
            _ => return None,
        })
    }

    /// Whether the values are texts.
    pub fn is_text(self) -> bool {
        matches!(self, Kind::Text(_) | Kind::View)
    }

    /// Bytes that the main buffer needs for so many rows.
    fn needs(self, rows: u64) -> Option<u64> {
        match self {
            Kind::Text(_) if rows == 0 => Some(0),
            Kind::Text(width) => rows.checked_add(1)?.checked_mul(width.into()),
            Kind::View => rows.checked_mul(16),
            Kind::Bool => Some(rows.div_ceil(8)),
            Kind::Int(width) | Kind::Unsigned(width) | Kind::Float(width) => rows.checked_mul(width.into()),
        }
    }
}

/// Which node and which buffers of each head are a column's.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slot {
    pub kind: Kind,
    /// Its number among the columns of the file.
    pub column: usize,
    /// Its node.
    node: usize,
    /// Its first buffer, those left out that columns of views before it have in each batch.
    buffer: usize,
    /// Columns of views before it.
    views: usize,
}

/// Finds the slot of a column of the schema.
pub(super) fn slot(schema: &Schema, version: MetadataVersion, column: usize, kind: Kind) -> Slot {
    let mut before = Count { nodes: 0, buffers: 0, views: 0 };
    schema.fields().iter().take(column).for_each(|field| before.add(field, version));
    Slot { kind, column, node: before.nodes, buffer: before.buffers, views: before.views }
}

/// What columns take up in a head.
struct Count {
    nodes: usize,
    buffers: usize,
    views: usize,
}

impl Count {
    fn add(&mut self, field: &Field, version: MetadataVersion) {
        self.nodes += 1;
        match field.data_type() {
            DataType::Null => {}
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Binary | DataType::LargeBinary => {
                self.buffers += 3;
            }
            DataType::Utf8View | DataType::BinaryView => {
                self.buffers += 2;
                self.views += 1;
            }
            DataType::List(inner) | DataType::LargeList(inner) | DataType::Map(inner, _) => {
                self.buffers += 2;
                self.add(inner, version);
            }
            DataType::ListView(inner) | DataType::LargeListView(inner) => {
                self.buffers += 3;
                self.add(inner, version);
            }
            DataType::FixedSizeList(inner, _) => {
                self.buffers += 1;
                self.add(inner, version);
            }
            DataType::Struct(fields) => {
                self.buffers += 1;
                fields.iter().for_each(|field| self.add(field, version));
            }
            DataType::RunEndEncoded(ends, values) => {
                self.add(ends, version);
                self.add(values, version);
            }
            DataType::Union(fields, mode) => {
                // Unions had a bitmap of what is null until version 5.
                self.buffers += usize::from(version < MetadataVersion::V5);
                self.buffers += if *mode == UnionMode::Dense { 2 } else { 1 };
                fields.iter().for_each(|(_, field)| self.add(field, version));
            }
            // A bitmap and values of one width; dictionaries lie elsewhere, here are their keys.
            _ => self.buffers += 2,
        }
    }
}

/// A run of bytes of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub at: u64,
    pub bytes: u64,
}

/// The buffers of one column in one batch.
#[derive(Clone, Debug)]
pub(super) struct Column {
    /// A bit for each row, 0 where there is no value; absent where every row has one.
    pub validity: Option<Span>,
    /// Offsets of texts, views, or the values themselves.
    pub main: Span,
    /// The bytes of texts.
    pub texts: Vec<Span>,
}

/// One record batch.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    /// Where its message lies.
    pub place: Place,
    pub rows: u64,
    /// Whether its buffers are compressed: then [`Column`] says where the compressed ones lie.
    pub packed: bool,
    /// The columns asked for.
    pub columns: Vec<Column>,
}

impl Layout {
    /// Reads the head of a batch and checks that what it says of the columns asked for can be.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn of(batch: &RecordBatch<'_>, place: Place, slots: &[Slot]) -> Result<Self, String> {
        let rows = u64::try_from(batch.length()).map_err(|_| "it has less than no rows".to_string())?;
        let packed = batch.compression().is_some();
        let mut columns = Vec::with_capacity(slots.len());
        for slot in slots {
            columns.push(column(batch, place, *slot, rows, packed)?);
        }
        let layout = Self { place, rows, packed, columns };
        layout.check_overlap()?;
        Ok(layout)
    }

    /// Every span of the columns asked for.
    pub fn spans(&self) -> impl Iterator<Item = Span> + '_ {
        self.columns
            .iter()
            .flat_map(|column| column.validity.iter().chain([&column.main]).chain(&column.texts).copied())
    }

    /// No writer lays one buffer over another, so a head that does is damaged.
    fn check_overlap(&self) -> Result<(), String> {
        let mut spans: Vec<Span> = self.spans().filter(|span| span.bytes > 0).collect();
        spans.sort_unstable_by_key(|span| span.at);
        for pair in spans.windows(2) {
            if pair[0].at + pair[0].bytes > pair[1].at {
                return Err("two of its buffers overlap".into());
            }
        }
        Ok(())
    }
}

fn column(
    batch: &RecordBatch<'_>,
    place: Place,
    slot: Slot,
    rows: u64,
    packed: bool,
) -> Result<Column, String> {
    let nodes = batch.nodes().filter(|nodes| slot.node < nodes.len());
    let node = nodes.map(|nodes| *nodes.get(slot.node)).ok_or("its head has too few columns")?;
    if u64::try_from(node.length()).ok() != Some(rows) {
        return Err(format!("a column of it has {} rows and the batch {rows}", node.length()));
    }
    let buffers = batch.buffers().ok_or("its head has no buffers")?;
    let counts = batch.variadicBufferCounts();
    let views = |at: usize| {
        let counts = counts.filter(|counts| at < counts.len());
        // No count can be above the number of buffers, so sums of them cannot overflow.
        let count = counts.and_then(|counts| usize::try_from(counts.get(at)).ok());
        count.filter(|&count| count <= buffers.len()).ok_or("its head does not say where its views lead")
    };
    let mut at = slot.buffer;
    for before in 0..slot.views {
        at = at.checked_add(views(before)?).ok_or("its head has too many buffers")?;
    }
    let span = |at: usize| {
        if at >= buffers.len() {
            return Err("its head has too few buffers".to_string());
        }
        let buffer = buffers.get(at);
        let (from, bytes) = (u64::try_from(buffer.offset()).ok(), u64::try_from(buffer.length()).ok());
        let inside =
            |(from, bytes): &(u64, u64)| from.checked_add(*bytes).is_some_and(|end| end <= place.bytes);
        match from.zip(bytes).filter(inside) {
            Some((from, bytes)) => Ok(Span { at: place.body + from, bytes }),
            None => Err(format!(
                "a buffer of {} bytes at {} is not inside the batch of {} bytes",
                buffer.length(),
                buffer.offset(),
                place.bytes
            )),
        }
    };
    let (validity, main) = (span(at)?, span(at + 1)?);
    let texts = match slot.kind {
        Kind::Text(_) => vec![span(at + 2)?],
        Kind::View => {
            (0..views(slot.views)?).map(|each| span(at + 2 + each)).collect::<Result<Vec<_>, _>>()?
        }
        Kind::Bool | Kind::Int(_) | Kind::Unsigned(_) | Kind::Float(_) => Vec::new(),
    };
    let validity = (node.null_count() != 0).then_some(validity);
    if !packed {
        let short = |span: Span, needed: Option<u64>| needed.is_none_or(|needed| span.bytes < needed);
        if short(main, slot.kind.needs(rows))
            || validity.is_some_and(|span| short(span, Some(rows.div_ceil(8))))
        {
            return Err(format!("a buffer of it is too short for {rows} rows"));
        }
    }
    Ok(Column { validity, main, texts })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn nodes_and_buffers_of_the_columns_before_are_counted() {
        let field = |name: &str, kind: DataType| Field::new(name, kind, true);
        let inner = Arc::new(field("item", DataType::Utf8));
        let cases: [(DataType, usize, usize, usize); 9] = [
            (DataType::Null, 1, 0, 0),
            (DataType::Int64, 1, 2, 0),
            (DataType::LargeUtf8, 1, 3, 0),
            (DataType::Utf8View, 1, 2, 1),
            (DataType::List(inner.clone()), 2, 5, 0),
            (DataType::ListView(inner.clone()), 2, 6, 0),
            (DataType::FixedSizeList(inner.clone(), 2), 2, 4, 0),
            (DataType::Dictionary(Box::new(DataType::Int8), Box::new(DataType::Utf8)), 1, 2, 0),
            (
                DataType::Struct(
                    vec![field("a", DataType::Boolean), field("b", DataType::BinaryView)].into(),
                ),
                3,
                5,
                1,
            ),
        ];
        let text = field("text", DataType::Utf8);
        let mut fields = Vec::new();
        let (mut nodes, mut buffers, mut views) = (0, 0, 0);
        for (kind, more_nodes, more_buffers, more_views) in cases {
            fields.push(field("before", kind.clone()));
            (nodes, buffers, views) = (nodes + more_nodes, buffers + more_buffers, views + more_views);
            let mut all = fields.clone();
            all.push(text.clone());
            let slot = slot(&Schema::new(all), MetadataVersion::V5, fields.len(), Kind::Text(4));
            assert_eq!((slot.node, slot.buffer, slot.views), (nodes, buffers, views), "after {kind}");
        }
        assert_eq!(fields.len(), 9);
    }
}

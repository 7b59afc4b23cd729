//! Parquet without arrow: each column written through its typed writer, lists in the three-level form that pandas,
//! polars and DuckDB read.

use std::fs::File;
use std::io::BufWriter;
use std::path::Path;
use std::sync::Arc;

use ::parquet::basic::{Compression, LogicalType, Repetition, Type as Physical};
use ::parquet::data_type::{ByteArray, ByteArrayType, DoubleType, FloatType, Int64Type};
use ::parquet::errors::ParquetError;
use ::parquet::file::properties::WriterProperties;
use ::parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use ::parquet::schema::types::Type;

use super::table::{Column, Table};
use crate::{Error, Result};

/// Rows in a row group.
const GROUP: usize = 1 << 16;

pub(super) fn write(path: &Path, out: BufWriter<File>, table: &Table) -> Result<File> {
    let failed = |error: ParquetError| match error {
        ParquetError::External(source) => match source.downcast::<std::io::Error>() {
            Ok(source) => Error::Write { path: path.into(), source: *source },
            Err(other) => Error::Parquet { path: path.into(), reason: other.to_string() },
        },
        other => Error::Parquet { path: path.into(), reason: other.to_string() },
    };
    let schema = Arc::new(schema(table).map_err(failed)?);
    let properties = Arc::new(WriterProperties::builder().set_compression(Compression::SNAPPY).build());
    let mut writer = SerializedFileWriter::new(out, schema, properties).map_err(failed)?;
    let mut start = 0;
    while start < table.rows() {
        let end = (start + GROUP).min(table.rows());
        let mut group = writer.next_row_group().map_err(failed)?;
        for (_, column) in table.columns() {
            write_column(&mut group, column, start..end).map_err(failed)?;
        }
        group.close().map_err(failed)?;
        start = end;
    }
    let out = writer.into_inner().map_err(failed)?;
    super::atomic::done(path, out)
}

fn schema(table: &Table) -> std::result::Result<Type, ParquetError> {
    let leaf = |name: &str, physical, logical, repetition| {
        Type::primitive_type_builder(name, physical)
            .with_repetition(repetition)
            .with_logical_type(logical)
            .build()
            .map(Arc::new)
    };
    let list = |name: &str, element: Arc<Type>| {
        let repeated = Type::group_type_builder("list")
            .with_repetition(Repetition::REPEATED)
            .with_fields(vec![element])
            .build()?;
        Type::group_type_builder(name)
            .with_repetition(Repetition::REQUIRED)
            .with_logical_type(Some(LogicalType::List))
            .with_fields(vec![Arc::new(repeated)])
            .build()
            .map(Arc::new)
    };
    let text = Some(LogicalType::String);
    let (required, optional) = (Repetition::REQUIRED, Repetition::OPTIONAL);
    let fields = table.columns().iter().map(|(name, column)| match column {
        Column::Text(_) => leaf(name, Physical::BYTE_ARRAY, text.clone(), required),
        Column::OptionalText(_) => leaf(name, Physical::BYTE_ARRAY, text.clone(), optional),
        Column::Integer(_) => leaf(name, Physical::INT64, None, required),
        Column::Number(_) => leaf(name, Physical::DOUBLE, None, required),
        Column::Texts(_) => list(name, leaf("element", Physical::BYTE_ARRAY, text.clone(), required)?),
        Column::Vectors { .. } => list(name, leaf("element", Physical::FLOAT, None, required)?),
    });
    let fields: Vec<_> = fields.collect::<std::result::Result<_, _>>()?;
    Type::group_type_builder("schema").with_fields(fields).build()
}

fn write_column(
    group: &mut SerializedRowGroupWriter<'_, BufWriter<File>>,
    column: &Column,
    rows: std::ops::Range<usize>,
) -> std::result::Result<(), ParquetError> {
    let missing = || ParquetError::General("a column of the schema has no writer".into());
    let mut writer = group.next_column()?.ok_or_else(missing)?;
    let bytes = |text: &String| ByteArray::from(text.as_bytes().to_vec());
    match column {
        Column::Text(values) => {
            let values: Vec<ByteArray> = values[rows].iter().map(bytes).collect();
            writer.typed::<ByteArrayType>().write_batch(&values, None, None)?;
        }
        Column::OptionalText(values) => {
            let present: Vec<i16> =
                values[rows.clone()].iter().map(|value| i16::from(value.is_some())).collect();
            let values: Vec<ByteArray> = values[rows].iter().flatten().map(bytes).collect();
            writer.typed::<ByteArrayType>().write_batch(&values, Some(&present), None)?;
        }
        Column::Integer(values) => {
            writer.typed::<Int64Type>().write_batch(&values[rows], None, None)?;
        }
        Column::Number(values) => {
            writer.typed::<DoubleType>().write_batch(&values[rows], None, None)?;
        }
        Column::Texts(values) => {
            let (definition, repetition) = levels(values[rows.clone()].iter().map(Vec::len));
            let values: Vec<ByteArray> = values[rows].iter().flatten().map(bytes).collect();
            writer.typed::<ByteArrayType>().write_batch(&values, Some(&definition), Some(&repetition))?;
        }
        Column::Vectors { values, width } => {
            let (definition, repetition) = levels(rows.clone().map(|_| *width));
            let values = &values[rows.start * width..rows.end * width];
            writer.typed::<FloatType>().write_batch(values, Some(&definition), Some(&repetition))?;
        }
    }
    writer.close()
}

/// Definition and repetition levels of required lists of required elements with these lengths: an element is defined
/// at level 1, an empty list takes one entry at level 0, and every element but the first of its row repeats at 1.
fn levels(lengths: impl Iterator<Item = usize>) -> (Vec<i16>, Vec<i16>) {
    let (mut definition, mut repetition) = (Vec::new(), Vec::new());
    for length in lengths {
        if length == 0 {
            definition.push(0);
            repetition.push(0);
        }
        for element in 0..length {
            definition.push(1);
            repetition.push(i16::from(element > 0));
        }
    }
    (definition, repetition)
}

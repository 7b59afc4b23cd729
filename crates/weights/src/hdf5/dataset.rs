//! A dataset: what its header says, and its numbers.

use std::collections::HashSet;

use super::chunk::{self, Chunk, Grid, Index};
use super::datatype::Datatype;
use super::filter::{self, Filter, MOST_PER_BYTE};
use super::object::{Message, find, kind};
use super::space::{Sizes, Space};
use crate::block;
use crate::bounded::{Cursor, Disk, Fault, bad};

/// Most axes of a dataset, as in the format.
const MAX_AXES: usize = 32;

/// The most memory, in bytes, for a dataset of which the file stores nothing but the value that fills it.
const MAX_FILLED: u64 = 64 << 20;

/// A dataset as its header has it.
#[derive(Debug)]
pub(super) struct Dataset {
    pub(super) shape: Vec<usize>,
    pub(super) datatype: Datatype,
    most: Vec<Option<u64>>,
    layout: Layout,
    filters: Vec<Filter>,
    /// What stands where nothing was stored; zeros without it.
    fill: Vec<u8>,
}

/// How the numbers lie.
#[derive(Clone, Debug, PartialEq)]
enum Layout {
    /// In the header itself.
    Compact(Vec<u8>),
    /// In one piece; nowhere when nothing was ever stored.
    Contiguous(Option<u64>),
    /// In chunks of so many elements along each axis.
    Chunked {
        chunk: Vec<u64>,
        index: Index,
        address: Option<u64>,
        /// Chunks that reach over the edge are stored without filters.
        plain_edges: bool,
    },
    /// In a way that is not read here.
    Other(String),
}

impl Dataset {
    /// Reads a header's messages; `None` when it is no dataset.
    pub(super) fn parse(space: &Space, messages: &[Message]) -> Result<Option<Dataset>, Fault> {
        let Some(layout) = find(space, messages, kind::LAYOUT)? else { return Ok(None) };
        let (Some(dataspace), Some(datatype)) =
            (find(space, messages, kind::DATASPACE)?, find(space, messages, kind::DATATYPE)?)
        else {
            return bad("a dataset without shape or datatype");
        };
        let (shape, most) = dataspace_of(space, &dataspace)?;
        let datatype = Datatype::parse(&datatype)?;
        let fill = match find(space, messages, kind::FILL)? {
            Some(message) => fill_of(&message)?,
            None => match find(space, messages, kind::OLD_FILL)? {
                Some(message) => sized(&mut Cursor::new(&message, "a fill value"))?,
                None => Vec::new(),
            },
        };
        let filters = match find(space, messages, kind::FILTERS)? {
            Some(message) => filter::parse(&message)?,
            None => Vec::new(),
        };
        let layout = match find(space, messages, kind::EXTERNAL)? {
            Some(_) => Layout::Other("in another file".to_string()),
            None => layout_of(space, &layout, shape.len())?,
        };
        let dataset = Dataset { shape, datatype, most, layout, filters, fill };
        dataset.check(space)?;
        Ok(Some(dataset))
    }

    /// Compares what can be a weight with what the file holds.
    fn check(&self, space: &Space) -> Result<(), Fault> {
        let Some(width) = self.datatype.width() else { return Ok(()) };
        let bytes = self.bytes(width)?;
        match &self.layout {
            Layout::Compact(data) if data.len() as u64 != bytes => {
                bad(format!("it holds {} bytes, its shape {:?} asks for {bytes}", data.len(), self.shape))
            }
            Layout::Contiguous(Some(address)) => {
                space.disk.check(address.saturating_add(space.sizes.base), bytes, "its numbers")
            }
            Layout::Chunked { chunk, .. } if chunk.contains(&0) => bad("a chunk of no elements"),
            _ => Ok(()),
        }
    }

    /// Bytes of all numbers.
    fn bytes(&self, width: usize) -> Result<u64, Fault> {
        let bytes = self.shape.iter().try_fold(width, |all, len| all.checked_mul(*len));
        match bytes.filter(|bytes| *bytes <= isize::MAX as usize) {
            Some(bytes) => Ok(bytes as u64),
            None => bad(format!("shape {:?} is beyond any file", self.shape)),
        }
    }

    /// The numbers, row-major.
    pub(super) fn read(&self, disk: &Disk, sizes: Sizes) -> Result<Vec<f32>, Fault> {
        let wrong = || Fault::Bad(format!("it holds {}, which cannot be a weight", self.datatype.name()));
        let width = self.datatype.width().ok_or_else(wrong)?;
        let bytes = self.bytes(width)?;
        match &self.layout {
            Layout::Compact(data) => self.datatype.to_f32(data.clone()).ok_or_else(wrong),
            Layout::Contiguous(Some(address)) => {
                let offset = address.saturating_add(sizes.base);
                self.datatype.to_f32(disk.bytes(offset, bytes, "its numbers")?).ok_or_else(wrong)
            }
            Layout::Contiguous(None) => self.filled(bytes, 0),
            Layout::Chunked { chunk, index, address, plain_edges } => {
                filter::check(&self.filters)?;
                let space = Space::new(disk, sizes);
                let chunk_bytes = chunk.iter().try_fold(width as u64, |all, len| all.checked_mul(*len));
                let Some(chunk_bytes) = chunk_bytes else { return bad("a chunk is beyond any file") };
                let grid = Grid {
                    shape: &self.shape,
                    most: &self.most,
                    chunk,
                    bytes: chunk_bytes,
                    filtered: !self.filters.is_empty(),
                };
                let chunks = chunk::chunks(&space, index, *address, &grid)?;
                self.gather(&space, &grid, &chunks, *plain_edges)
            }
            Layout::Other(how) => bad(format!("its numbers lie {how}, which is not read here")),
        }
    }

    /// Room for all numbers, filled with what stands where nothing is stored. `stored` bytes could fill it otherwise.
    fn filled(&self, bytes: u64, stored: u64) -> Result<Vec<f32>, Fault> {
        if bytes > stored.saturating_add(MAX_FILLED) {
            return bad(format!("it takes {bytes} bytes, and next to nothing of it is stored"));
        }
        let width = self.datatype.width().unwrap_or(1);
        let value = match self.fill.len() == width {
            true => self.datatype.to_f32(self.fill.clone()).and_then(|value| value.first().copied()),
            false => None,
        };
        Ok(vec![value.unwrap_or(0.0); bytes as usize / width])
    }

    /// The numbers of all chunks in their places.
    fn gather(
        &self,
        space: &Space,
        grid: &Grid,
        chunks: &[Chunk],
        plain_edges: bool,
    ) -> Result<Vec<f32>, Fault> {
        let (disk, base) = (space.disk, space.sizes.base);
        let mut stored = 0u64;
        for chunk in chunks {
            disk.check(chunk.address.saturating_add(base), chunk.len, "a chunk")?;
            stored += chunk.len;
        }
        // Chunks that lie over each other would be work without end for a small file.
        if stored > disk.len() {
            return bad(format!("its chunks take {stored} bytes of a file of {}", disk.len()));
        }
        let compressed = self.filters.iter().any(|filter| matches!(filter, Filter::Deflate | Filter::Lzf));
        let ratio = if compressed { MOST_PER_BYTE } else { 1 };
        let width = self.datatype.width().unwrap_or(1);
        let mut numbers = self.filled(self.bytes(width)?, stored.saturating_mul(ratio))?;
        let mut seen = HashSet::new();
        for chunk in chunks {
            let inside = chunk.at.iter().zip(&self.shape).all(|(at, len)| *at < *len as u64);
            let aligned = chunk.at.iter().zip(grid.chunk).all(|(at, len)| at % len == 0);
            if !inside || !aligned || !seen.insert(&chunk.at) {
                return bad(format!("a chunk at {:?}, which is no place of its own", chunk.at));
            }
            if grid.bytes > chunk.len.saturating_mul(ratio) {
                return bad(format!("a chunk of {} bytes is stored in {}", grid.bytes, chunk.len));
            }
            let bytes = disk.bytes(chunk.address.saturating_add(base), chunk.len, "a chunk")?;
            let mut ends = chunk.at.iter().zip(grid.chunk).zip(&self.shape);
            let over = ends.any(|((at, len), end)| at + len > *end as u64);
            let skipped = if plain_edges && over { u32::MAX } else { chunk.skipped };
            let bytes = filter::undo(bytes, &self.filters, skipped, grid.bytes as usize)?;
            let Some(part) = self.datatype.to_f32(bytes) else { return bad("no weights") };
            let usizes = |numbers: &[u64]| numbers.iter().map(|number| *number as usize).collect::<Vec<_>>();
            block::place(&part, &usizes(grid.chunk), &usizes(&chunk.at), &mut numbers, &self.shape);
        }
        Ok(numbers)
    }
}

/// The shape, and how far it may grow.
fn dataspace_of(space: &Space, message: &[u8]) -> Result<(Vec<usize>, Vec<Option<u64>>), Fault> {
    let mut cursor = Cursor::new(message, "a shape");
    let (version, rank, flags) = (cursor.u8()?, usize::from(cursor.u8()?), cursor.u8()?);
    let empty = match version {
        1 => {
            cursor.take(5)?;
            false
        }
        2 => cursor.u8()? == 2,
        _ => return bad(format!("shape version {version}, expected 1 or 2")),
    };
    if rank > MAX_AXES {
        return bad(format!("{rank} axes, expected at most {MAX_AXES}"));
    }
    if empty {
        return Ok((vec![0], vec![Some(0)]));
    }
    let mut shape = Vec::new();
    for _ in 0..rank {
        match usize::try_from(space.length(&mut cursor)?) {
            Ok(len) => shape.push(len),
            Err(_) => return bad("an axis is longer than this machine can count"),
        }
    }
    let endless = u64::MAX >> (64 - 8 * space.sizes.length as u32);
    let most = match flags & 1 {
        0 => shape.iter().map(|len| Some(*len as u64)).collect(),
        _ => (0..rank)
            .map(|_| Ok(Some(space.length(&mut cursor)?).filter(|most| *most != endless)))
            .collect::<Result<_, Fault>>()?,
    };
    Ok((shape, most))
}

/// Bytes behind their number.
fn sized(cursor: &mut Cursor) -> Result<Vec<u8>, Fault> {
    let len = cursor.u32()? as usize;
    Ok(cursor.take(len)?.to_vec())
}

fn fill_of(message: &[u8]) -> Result<Vec<u8>, Fault> {
    let mut cursor = Cursor::new(message, "a fill value");
    let stored = match cursor.u8()? {
        version @ (1 | 2) => {
            cursor.take(2)?;
            cursor.u8()? != 0 || version == 1
        }
        3 => cursor.u8()? & 0x20 != 0,
        version => return bad(format!("fill value version {version}, expected 1 to 3")),
    };
    if stored { sized(&mut cursor) } else { Ok(Vec::new()) }
}

fn layout_of(space: &Space, message: &[u8], rank: usize) -> Result<Layout, Fault> {
    let mut cursor = Cursor::new(message, "a layout");
    let version = cursor.u8()?;
    match version {
        1 | 2 => {
            let (axes, class) = (usize::from(cursor.u8()?), cursor.u8()?);
            cursor.take(5)?;
            let address = if class == 0 { None } else { space.address(&mut cursor)? };
            let sizes: Vec<u64> =
                (0..axes).map(|_| Ok(u64::from(cursor.u32()?))).collect::<Result<_, Fault>>()?;
            match class {
                0 => Ok(Layout::Compact(sized(&mut cursor)?)),
                1 => Ok(Layout::Contiguous(address)),
                2 => chunked(sizes, rank, Index::Tree, address, false),
                _ => bad(format!("layout of kind {class}")),
            }
        }
        3..=5 => match cursor.u8()? {
            0 => {
                let len = usize::from(cursor.u16()?);
                Ok(Layout::Compact(cursor.take(len)?.to_vec()))
            }
            1 => Ok(Layout::Contiguous(space.address(&mut cursor)?)),
            2 if version == 3 => {
                let axes = usize::from(cursor.u8()?);
                let address = space.address(&mut cursor)?;
                let sizes: Vec<u64> =
                    (0..axes).map(|_| Ok(u64::from(cursor.u32()?))).collect::<Result<_, Fault>>()?;
                chunked(sizes, rank, Index::Tree, address, false)
            }
            2 => newer_chunks(space, &mut cursor, rank),
            3 => Ok(Layout::Other("in other datasets (a virtual dataset)".to_string())),
            class => bad(format!("layout of kind {class}")),
        },
        _ => bad(format!("layout version {version}, expected 1 to 5")),
    }
}

/// Chunks whose index is chosen by what the dataset is like.
fn newer_chunks(space: &Space, cursor: &mut Cursor, rank: usize) -> Result<Layout, Fault> {
    let (flags, axes, width) = (cursor.u8()?, usize::from(cursor.u8()?), usize::from(cursor.u8()?));
    let sizes: Vec<u64> = (0..axes).map(|_| cursor.uint(width)).collect::<Result<_, Fault>>()?;
    let index = match cursor.u8()? {
        1 if flags & 2 != 0 => Index::Single(Some((space.length(cursor)?, cursor.u32()?))),
        1 => Index::Single(None),
        2 => Index::Implicit,
        3 => {
            cursor.take(1)?;
            Index::Fixed
        }
        4 => {
            cursor.take(5)?;
            Index::Other("an extensible array".to_string())
        }
        5 => {
            cursor.take(6)?;
            Index::Tree2
        }
        index => Index::Other(format!("an index of kind {index}")),
    };
    let address = space.address(cursor)?;
    chunked(sizes, rank, index, address, flags & 1 != 0)
}

/// A chunked layout; the last of its sizes is that of an element.
fn chunked(
    mut sizes: Vec<u64>,
    rank: usize,
    index: Index,
    address: Option<u64>,
    plain_edges: bool,
) -> Result<Layout, Fault> {
    sizes.pop();
    if sizes.len() != rank || rank == 0 {
        return bad(format!("chunks of {} axes in a dataset of {rank}", sizes.len()));
    }
    Ok(Layout::Chunked { chunk: sizes, index, address, plain_edges })
}

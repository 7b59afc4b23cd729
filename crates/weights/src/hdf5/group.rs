//! The links of a group: names and the addresses of what they name.
//!
//! Only links to objects of the same file are followed. A link by path names again what has a name already, and one into
//! another file is no part of this one.

use super::heap::Heap;
use super::object::{Message, find, kind};
use super::space::Space;
use super::{btree2, object};
use crate::bounded::{Cursor, Fault, bad};

/// Longest name of a link, in bytes.
const MAX_NAME: usize = 4096;

/// Deepest tree of a group's table.
const MAX_DEPTH: u8 = 32;

/// The links of the object that these messages are of, in the order of the file; `None` when it is no group.
pub(super) fn links(space: &Space, messages: &[Message]) -> Result<Option<Vec<(String, u64)>>, Fault> {
    let table = find(space, messages, kind::SYMBOL_TABLE)?;
    let info = find(space, messages, kind::LINK_INFO)?;
    if table.is_none() && info.is_none() {
        return Ok(None);
    }
    let mut links = Vec::new();
    if let Some(table) = table {
        let mut cursor = Cursor::new(&table, "a symbol table");
        let tree = space.place(&mut cursor, "a symbol table")?;
        let heap = local_heap(space, space.place(&mut cursor, "the heap of names")?)?;
        table_node(space, tree, MAX_DEPTH, &heap, &mut links)?;
    }
    for message in messages.iter().filter(|message| message.kind == object::kind::LINK) {
        links.extend(link(space, &message.content(space)?)?);
    }
    if let Some(info) = info {
        let mut cursor = Cursor::new(&info, "a link info");
        cursor.u8()?;
        if cursor.u8()? & 1 != 0 {
            cursor.take(8)?;
        }
        let heap = space.address(&mut cursor)?;
        let tree = space.address(&mut cursor)?;
        if let (Some(heap), Some(tree)) = (heap, tree) {
            let heap = Heap::open(space, heap)?;
            for record in btree2::records(space, tree, 5)? {
                // A hash of the name, then where the link lies.
                let id = record.get(4..).unwrap_or_default();
                links.extend(link(space, &heap.object(id)?)?);
            }
        }
    }
    Ok(Some(links))
}

/// A link message; `None` for links by path and into other files.
fn link(space: &Space, message: &[u8]) -> Result<Option<(String, u64)>, Fault> {
    let mut cursor = Cursor::new(message, "a link");
    let (version, flags) = (cursor.u8()?, cursor.u8()?);
    if version != 1 {
        return bad(format!("link version {version}, expected 1"));
    }
    let kind = if flags & 8 != 0 { cursor.u8()? } else { 0 };
    cursor.take(if flags & 4 != 0 { 8 } else { 0 })?;
    cursor.take(if flags & 16 != 0 { 1 } else { 0 })?;
    let len = cursor.uint(1 << (flags & 3))?;
    let name = text(cursor.take(usize::try_from(len).unwrap_or(usize::MAX))?)?;
    match kind {
        0 => Ok(Some((name, space.place(&mut cursor, "what a link names")?))),
        _ => Ok(None),
    }
}

fn text(bytes: &[u8]) -> Result<String, Fault> {
    match std::str::from_utf8(bytes) {
        Ok(text) if text.len() <= MAX_NAME => Ok(text.to_string()),
        Ok(text) => bad(format!("a name of {} bytes, expected at most {MAX_NAME}", text.len())),
        Err(_) => bad("a name is not UTF-8"),
    }
}

/// The bytes of a heap of names.
fn local_heap(space: &Space, address: u64) -> Result<Vec<u8>, Fault> {
    let len = 8 + 2 * space.sizes.length + space.sizes.address;
    let head = space.signed(address, len as u64, b"HEAP", false)?;
    let mut cursor = Cursor::new(&head[4..], "HEAP");
    let len = space.length(&mut cursor)?;
    space.length(&mut cursor)?;
    let data = space.place(&mut cursor, "the names of a heap")?;
    space.bytes(data, len, "the names of a heap")
}

/// A node of the tree of a group's table.
fn table_node(
    space: &Space,
    address: u64,
    depth: u8,
    heap: &[u8],
    links: &mut Vec<(String, u64)>,
) -> Result<(), Fault> {
    let (a, l) = (space.sizes.address, space.sizes.length);
    let head = space.signed(address, 8 + 2 * a as u64, b"TREE", false)?;
    let mut cursor = Cursor::new(&head, "TREE");
    let (node, level) = (cursor.u8()?, cursor.u8()?);
    let entries = u64::from(cursor.u16()?);
    // The level falls with every step, so a tree that holds itself is found out.
    if node != 0 || level >= depth {
        return bad(format!("a node of kind {node} and level {level} in the tree of a group"));
    }
    let len = entries * (a + l) as u64;
    let bytes = space.bytes(address.saturating_add(8 + 2 * a as u64), len, "TREE")?;
    let mut cursor = Cursor::new(&bytes, "TREE");
    for _ in 0..entries {
        space.length(&mut cursor)?;
        let child = space.place(&mut cursor, "a part of a symbol table")?;
        match level {
            0 => symbols(space, child, heap, links)?,
            _ => table_node(space, child, level, heap, links)?,
        }
    }
    Ok(())
}

/// A leaf of a group's table.
fn symbols(space: &Space, address: u64, heap: &[u8], links: &mut Vec<(String, u64)>) -> Result<(), Fault> {
    let head = space.signed(address, 8, b"SNOD", false)?;
    let count = u64::from(Cursor::new(&head[2..], "SNOD").u16()?);
    let entry = 2 * space.sizes.address + 24;
    let bytes = space.bytes(address.saturating_add(8), count * entry as u64, "SNOD")?;
    for entry in bytes.chunks_exact(entry) {
        let mut cursor = Cursor::new(entry, "SNOD");
        let at = cursor.uint(space.sizes.address)?;
        let object = space.address(&mut cursor)?;
        let kind = cursor.u32()?;
        let rest = usize::try_from(at).ok().and_then(|at| heap.get(at..)).unwrap_or_default();
        let Some(len) = rest.iter().take(MAX_NAME + 1).position(|byte| *byte == 0) else {
            return bad(format!("the name of a link should be at {at} of the heap of names"));
        };
        space.spend(len as u64)?;
        // Kind 2 is a link by path.
        if kind != 2
            && let Some(object) = object
        {
            links.push((text(&rest[..len])?, object));
        }
    }
    Ok(())
}

//! The header of an object: a list of messages, each saying one thing of a group or a dataset.

use super::space::{Space, verify};
use crate::bounded::{Cursor, Fault, bad};

/// What a message can be about, as far as weight files need it.
pub(super) mod kind {
    pub(in super::super) const DATASPACE: u16 = 0x01;
    pub(in super::super) const LINK_INFO: u16 = 0x02;
    pub(in super::super) const DATATYPE: u16 = 0x03;
    pub(in super::super) const OLD_FILL: u16 = 0x04;
    pub(in super::super) const FILL: u16 = 0x05;
    pub(in super::super) const LINK: u16 = 0x06;
    pub(in super::super) const EXTERNAL: u16 = 0x07;
    pub(in super::super) const LAYOUT: u16 = 0x08;
    pub(in super::super) const FILTERS: u16 = 0x0b;
    pub(in super::super) const ATTRIBUTE: u16 = 0x0c;
    pub(in super::super) const CONTINUED: u16 = 0x10;
    pub(in super::super) const SYMBOL_TABLE: u16 = 0x11;
    pub(in super::super) const USES: u16 = 0x16;
}

/// One message.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) kind: u16,
    /// The content lies in another object's header.
    shared: bool,
    data: Vec<u8>,
}

/// The messages of the object at `address`.
pub(super) fn messages(space: &Space, address: u64) -> Result<Vec<Message>, Fault> {
    let start = space.bytes(address, 4, "an object header")?;
    let mut messages = Vec::new();
    // Where the header goes on.
    let mut more = Vec::new();
    let newer = start == *b"OHDR";
    let ordered = if newer {
        let (bytes, ordered) = first_block(space, address)?;
        split(space, &bytes, Some(ordered), &mut messages, &mut more)?;
        Some(ordered)
    } else {
        if start[0] != 1 {
            return bad(format!("no object header at {address}"));
        }
        let head = space.bytes(address, 16, "an object header")?;
        let len = Cursor::new(&head[8..], "an object header").u32()?;
        let bytes = space.bytes(address.saturating_add(16), u64::from(len), "an object header")?;
        split(space, &bytes, None, &mut messages, &mut more)?;
        None
    };
    while let Some((address, len)) = more.pop() {
        let bytes = match newer {
            true => space.signed(address, len, b"OCHK", true)?,
            false => space.bytes(address, len, "an object header")?,
        };
        split(space, &bytes, ordered, &mut messages, &mut more)?;
    }
    Ok(messages)
}

/// The first block of a newer header, and whether its messages carry the order in which they were made.
fn first_block(space: &Space, address: u64) -> Result<(Vec<u8>, bool), Fault> {
    let what = "an object header";
    let head = space.bytes(address, 6, what)?;
    if head[4] != 2 {
        return bad(format!("object header version {}, expected 1 or 2", head[4]));
    }
    let flags = head[5];
    let skipped = 6 + if flags & 0x20 != 0 { 16 } else { 0 } + if flags & 0x10 != 0 { 4 } else { 0 };
    let width = 1 << (flags & 3);
    let sized = space.bytes(address, skipped + width, what)?;
    let len = Cursor::new(&sized[skipped as usize..], what).uint(width as usize)?;
    let whole = (skipped + width + 4).saturating_add(len);
    let mut bytes = space.bytes(address, whole, what)?;
    verify(&mut bytes, what)?;
    bytes.drain(..(skipped + width) as usize);
    Ok((bytes, flags & 4 != 0))
}

/// Cuts a block into its messages. `newer` says for headers of version 2 whether an order stands in each.
fn split(
    space: &Space,
    block: &[u8],
    newer: Option<bool>,
    messages: &mut Vec<Message>,
    more: &mut Vec<(u64, u64)>,
) -> Result<(), Fault> {
    let mut cursor = Cursor::new(block, "an object header");
    let head = match newer {
        None => 8,
        Some(ordered) => 4 + if ordered { 2 } else { 0 },
    };
    // A gap too small for a message may stand at the end.
    while cursor.rest().len() >= head {
        let kind = if newer.is_some() { u16::from(cursor.u8()?) } else { cursor.u16()? };
        let len = usize::from(cursor.u16()?);
        let flags = cursor.u8()?;
        cursor.take(head - if newer.is_some() { 4 } else { 5 })?;
        let data = cursor.take(len)?;
        if kind == kind::CONTINUED {
            let mut cursor = Cursor::new(data, "an object header");
            more.push((space.place(&mut cursor, "the rest of a header")?, space.length(&mut cursor)?));
        } else {
            messages.push(Message { kind, shared: flags & 2 != 0, data: data.to_vec() });
        }
    }
    Ok(())
}

impl Message {
    /// The message's content, fetched from where it lies.
    pub(super) fn content(&self, space: &Space) -> Result<Vec<u8>, Fault> {
        if !self.shared {
            return Ok(self.data.clone());
        }
        let mut cursor = Cursor::new(&self.data, "a shared message");
        let (version, place) = (cursor.u8()?, cursor.u8()?);
        match (version, place) {
            (1, _) => drop(cursor.take(6)?),
            (2, _) | (3, 0 | 2) => {}
            (3, _) => return bad("a message lies in the heap of shared messages, which is not read here"),
            _ => return bad(format!("shared message version {version}, expected 1 to 3")),
        }
        let address = space.place(&mut cursor, "a shared message")?;
        match messages(space, address)?.into_iter().find(|other| other.kind == self.kind) {
            Some(found) if !found.shared => Ok(found.data),
            _ => bad(format!("no message of kind {} at {address}, where one should be shared", self.kind)),
        }
    }
}

/// The content of the first message of a kind.
pub(super) fn find(space: &Space, messages: &[Message], kind: u16) -> Result<Option<Vec<u8>>, Fault> {
    messages.iter().find(|message| message.kind == kind).map(|message| message.content(space)).transpose()
}

/// Whether the object has an attribute whose name starts with `start`; attributes that lie apart are not searched.
pub(super) fn has_attribute(messages: &[Message], start: &str) -> bool {
    let name = |data: &[u8]| -> Option<bool> {
        let skipped = match data.first()? {
            1 | 2 => 8,
            3 => 9,
            _ => return None,
        };
        Some(data.get(skipped..)?.starts_with(start.as_bytes()))
    };
    messages.iter().any(|message| {
        message.kind == kind::ATTRIBUTE && !message.shared && name(&message.data).unwrap_or(false)
    })
}

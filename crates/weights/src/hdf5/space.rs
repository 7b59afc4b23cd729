//! Where things lie in an HDF5 file: addresses counted from a base, in numbers as wide as the file says, and a budget
//! that ends every walk through structures that refer to each other in circles.

use std::cell::Cell;

use super::checksum::lookup3;
use crate::bounded::{Cursor, Disk, Fault, bad};

/// What stands at the head of every HDF5 file.
pub(super) const SIGNATURE: &[u8; 8] = b"\x89HDF\r\n\x1a\n";

/// How many bytes of structures are read for each byte of the file, at most. Sound files need less than two.
const ROUNDS: u64 = 16;

/// What the superblock says of all the rest.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes {
    /// What is added to each address.
    pub(super) base: u64,
    /// Bytes of an address.
    pub(super) address: usize,
    /// Bytes of a length.
    pub(super) length: usize,
}

/// A walk through the structures of a file.
#[derive(Debug)]
pub(super) struct Space<'a> {
    pub(super) disk: &'a Disk,
    pub(super) sizes: Sizes,
    /// Bytes that may still be read.
    budget: Cell<u64>,
}

impl<'a> Space<'a> {
    pub(super) fn new(disk: &'a Disk, sizes: Sizes) -> Space<'a> {
        Space { disk, sizes, budget: Cell::new(disk.len().saturating_mul(ROUNDS).saturating_add(1 << 16)) }
    }

    /// `len` bytes at an address.
    pub(super) fn bytes(&self, address: u64, len: u64, what: &str) -> Result<Vec<u8>, Fault> {
        let Some(offset) = address.checked_add(self.sizes.base) else {
            return bad(format!("{what} lies at the impossible address {address}"));
        };
        self.disk.check(offset, len, what)?;
        self.spend(len + 16)?;
        self.disk.bytes(offset, len, what)
    }

    /// `len` bytes at an address that start with `signature` and, in newer structures, end with their checksum; the
    /// signature and the checksum are taken off.
    pub(super) fn signed(
        &self,
        address: u64,
        len: u64,
        signature: &[u8; 4],
        summed: bool,
    ) -> Result<Vec<u8>, Fault> {
        let what = String::from_utf8_lossy(signature);
        let mut bytes = self.bytes(address, len, &what)?;
        if bytes.get(..4) != Some(signature) {
            return bad(format!("no {what} at {address}"));
        }
        if summed {
            verify(&mut bytes, &what)?;
        }
        bytes.drain(..4);
        Ok(bytes)
    }

    /// Counts `cost` bytes of work, and refuses more of it than a sound file could ask for.
    pub(super) fn spend(&self, cost: u64) -> Result<(), Fault> {
        match self.budget.get().checked_sub(cost) {
            Some(left) => {
                self.budget.set(left);
                Ok(())
            }
            None => bad("its structures refer to each other in circles, or to the same bytes many times"),
        }
    }

    /// An address; `None` is the one that says that nothing is there.
    pub(super) fn address(&self, cursor: &mut Cursor) -> Result<Option<u64>, Fault> {
        let address = cursor.uint(self.sizes.address)?;
        let nowhere = u64::MAX >> (64 - 8 * self.sizes.address as u32);
        Ok((address != nowhere).then_some(address))
    }

    /// An address where something must be.
    pub(super) fn place(&self, cursor: &mut Cursor, what: &str) -> Result<u64, Fault> {
        match self.address(cursor)? {
            Some(address) => Ok(address),
            None => bad(format!("{what} is said to be nowhere")),
        }
    }

    /// A length.
    pub(super) fn length(&self, cursor: &mut Cursor) -> Result<u64, Fault> {
        cursor.uint(self.sizes.length)
    }
}

/// Takes the checksum off the end of a structure and compares.
pub(super) fn verify(bytes: &mut Vec<u8>, what: &str) -> Result<(), Fault> {
    let Some(at) = bytes.len().checked_sub(4) else { return bad(format!("{what} ends too early")) };
    let stored = Cursor::new(&bytes[at..], what).u32()?;
    bytes.truncate(at);
    if lookup3(bytes) != stored && cfg!(not(fuzzing)) {
        return bad(format!("the checksum of {what} is wrong: the file is damaged"));
    }
    Ok(())
}

/// Finds the superblock and reads it: the sizes, and the address of the root group's header.
pub(super) fn superblock(disk: &Disk) -> Result<(Sizes, u64), Fault> {
    // It lies at the start, or behind a block of the user's whose size is a power of two.
    let mut offset = 0;
    loop {
        if disk.check(offset, 8, "the signature").is_err() {
            return bad("no HDF5 signature");
        }
        if disk.bytes(offset, 8, "the signature")? == SIGNATURE {
            break;
        }
        offset = if offset == 0 { 512 } else { offset * 2 };
    }
    let len = (disk.len() - offset).min(128);
    let bytes = disk.bytes(offset, len, "the superblock")?;
    let mut cursor = Cursor::new(&bytes[8..], "the superblock");
    let version = cursor.u8()?;
    match version {
        0 | 1 => cursor.take(4)?,
        2 | 3 => &[],
        _ => return bad(format!("superblock version {version}, expected 0 to 3")),
    };
    let (address, length) = (usize::from(cursor.u8()?), usize::from(cursor.u8()?));
    if ![2, 4, 8].contains(&address) || ![2, 4, 8].contains(&length) {
        return bad(format!("addresses of {address} and lengths of {length} bytes"));
    }
    let mut sizes = Sizes { base: 0, address, length };
    let space = Space::new(disk, sizes);
    if version < 2 {
        cursor.take(if version == 0 { 9 } else { 13 })?;
    } else {
        cursor.take(1)?;
        verify(&mut bytes[..(12 + 4 * address + 4).min(bytes.len())].to_vec(), "the superblock")?;
    }
    // Addresses count from the superblock, whatever base was noted before a block of the user's came before it.
    space.address(&mut cursor)?;
    space.address(&mut cursor)?;
    sizes.base = offset;
    if let Some(end) = space.address(&mut cursor)?
        && disk.check(sizes.base, end, "the file").is_err()
        && disk.check(0, end, "the file").is_err()
    {
        return bad(format!("it says that it ends at byte {end} and has {}: cut short?", disk.len()));
    }
    if version < 2 {
        space.address(&mut cursor)?;
        space.address(&mut cursor)?;
    }
    Ok((sizes, space.place(&mut cursor, "the root group")?))
}

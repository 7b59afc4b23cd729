//! The two checksums of HDF5: one over its own structures, one over stored numbers.
//!
//! Reference: Jenkins, "lookup3.c, for hash table lookup" (2006), <https://burtleburtle.net/bob/c/lookup3.c>.
//! Reference: Fletcher, "An Arithmetic Checksum for Serial Transmissions" (1982),
//! <https://doi.org/10.1109/TCOM.1982.1095369>.

/// Jenkins' `hashlittle` with start value 0, which stands at the end of each structure of newer files.
pub(super) fn lookup3(bytes: &[u8]) -> u32 {
    let start = 0xdead_beef_u32.wrapping_add(bytes.len() as u32);
    let (mut a, mut b, mut c) = (start, start, start);
    let word = |block: &[u8], at: usize| {
        let mut word = [0; 4];
        let part = block.get(at..).unwrap_or_default();
        let len = part.len().min(4);
        word[..len].copy_from_slice(&part[..len]);
        u32::from_le_bytes(word)
    };
    let mut rest = bytes;
    while rest.len() > 12 {
        a = a.wrapping_add(word(rest, 0));
        b = b.wrapping_add(word(rest, 4));
        c = c.wrapping_add(word(rest, 8));
        for (rotate, turn) in [(4, 0), (6, 1), (8, 2), (16, 0), (19, 1), (4, 2)] {
            let (x, y, z) = match turn {
                0 => (&mut a, c, &mut b),
                1 => (&mut b, a, &mut c),
                _ => (&mut c, b, &mut a),
            };
            // x -= y; x ^= rot(y); y += z, where y is read before z is added to it.
            *x = x.wrapping_sub(y) ^ y.rotate_left(rotate);
            let sum = y.wrapping_add(*z);
            match turn {
                0 => c = sum,
                1 => a = sum,
                _ => b = sum,
            }
        }
        rest = &rest[12..];
    }
    if rest.is_empty() {
        return c;
    }
    a = a.wrapping_add(word(rest, 0));
    b = b.wrapping_add(word(rest, 4));
    c = c.wrapping_add(word(rest, 8));
    c = (c ^ b).wrapping_sub(b.rotate_left(14));
    a = (a ^ c).wrapping_sub(c.rotate_left(11));
    b = (b ^ a).wrapping_sub(a.rotate_left(25));
    c = (c ^ b).wrapping_sub(b.rotate_left(16));
    a = (a ^ c).wrapping_sub(c.rotate_left(4));
    b = (b ^ a).wrapping_sub(a.rotate_left(14));
    (c ^ b).wrapping_sub(b.rotate_left(24))
}

/// Fletcher's checksum over 16-bit words, high byte first; a last odd byte is the high half of a word.
pub(super) fn fletcher32(bytes: &[u8]) -> u32 {
    let (mut low, mut high) = (0u64, 0u64);
    let fold = |sum: u64| (sum & 0xffff) + (sum >> 16);
    // So few words that the sums stay within their 64 bits.
    for block in bytes.chunks(1 << 16) {
        for pair in block.chunks(2) {
            low += u64::from(pair[0]) << 8 | u64::from(pair.get(1).copied().unwrap_or(0));
            high += low;
        }
        while low > 0xffff {
            low = fold(low);
        }
        while high > 0xffff {
            high = fold(high);
        }
    }
    (high as u32) << 16 | low as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_its_authors() {
        // From the driver at the end of lookup3.c.
        assert_eq!(lookup3(b""), 0xdead_beef);
        assert_eq!(lookup3(b"Four score and seven years ago"), 0x1777_0551);
    }

    #[test]
    fn the_sum_is_the_published_one_of_pairs() {
        // Words 0x6162 0x6364 0x6500: sums by hand.
        let words = [0x6162u32, 0x6364, 0x6500];
        let low = words.iter().sum::<u32>();
        let high = words[0] * 3 + words[1] * 2 + words[2];
        let fold = |x: u32| (x & 0xffff) + (x >> 16);
        assert_eq!(fletcher32(b"abcde"), fold(fold(high)) << 16 | fold(fold(low)));
        assert_eq!(fletcher32(b""), 0);
    }
}

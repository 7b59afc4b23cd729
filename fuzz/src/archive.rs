//! ZIP archives around what the fuzzer changes, so that no change is lost on lengths and places.

/// An archive that holds these files as they are.
pub fn stored(files: &[(&str, &[u8])]) -> Vec<u8> {
    let (mut archive, mut directory) = (Vec::new(), Vec::new());
    for (name, bytes) in files {
        let at = archive.len() as u32;
        // Versions, flags and method; time; checksum (not looked at here); lengths; name and nothing behind it.
        let mut about = vec![20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        about.extend([bytes.len() as u32; 2].map(u32::to_le_bytes).as_flattened());
        about.extend((name.len() as u16).to_le_bytes());
        about.extend([0, 0]);
        archive.extend(b"PK\x03\x04");
        archive.extend(&about);
        archive.extend(name.as_bytes());
        archive.extend(*bytes);
        directory.extend(b"PK\x01\x02\x14\x00");
        directory.extend(&about);
        directory.extend([0; 10]);
        directory.extend(at.to_le_bytes());
        directory.extend(name.as_bytes());
    }
    let start = archive.len() as u32;
    archive.extend(&directory);
    archive.extend(b"PK\x05\x06\0\0\0\0");
    archive.extend([files.len() as u16; 2].map(u16::to_le_bytes).as_flattened());
    archive.extend([directory.len() as u32, start].map(u32::to_le_bytes).as_flattened());
    archive.extend([0, 0]);
    archive
}

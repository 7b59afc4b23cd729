//! The tokens with a role.

use crate::Result;
use crate::settings::{ROLES, Settings};

/// Ids of the tokens with a role; `None` where the tokenizer has no such token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SpecialTokens {
    /// Stands first: `[CLS]` or `<s>`.
    pub cls: Option<u32>,
    /// Ends a text: `[SEP]` or `</s>`.
    pub sep: Option<u32>,
    /// The blank of a masked language model.
    pub mask: Option<u32>,
    /// Padding. Nothing here pads; other programs that open the folder need it.
    pub pad: Option<u32>,
    /// Stands for what the vocabulary cannot spell.
    pub unk: Option<u32>,
    /// Beginning of a sequence.
    pub bos: Option<u32>,
    /// End of a sequence.
    pub eos: Option<u32>,
}

impl SpecialTokens {
    /// Looks each role up: first as the settings name it, then under its usual spellings.
    pub(crate) fn find(settings: &Settings, id: impl Fn(&str) -> Option<u32>) -> Result<Self> {
        let mut found = [None; ROLES.len()];
        for (slot, (role, usual)) in found.iter_mut().zip(ROLES) {
            *slot = match settings.special_token(role)? {
                Some(token) => id(token),
                None => usual.iter().find_map(|token| id(token)),
            };
        }
        let [cls, sep, mask, pad, unk, bos, eos] = found;
        Ok(Self { cls, sep, mask, pad, unk, bos, eos })
    }

    /// All ids that have a role, sorted, each once.
    pub fn ids(&self) -> Vec<u32> {
        let all = [self.cls, self.sep, self.mask, self.pad, self.unk, self.bos, self.eos];
        let mut ids: Vec<u32> = all.into_iter().flatten().collect();
        ids.sort_unstable();
        ids.dedup();
        ids
    }
}

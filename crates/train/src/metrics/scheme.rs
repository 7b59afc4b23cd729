//! How tags mark entities: the schemes, and the two ways to read them.
//!
//! Paper: Ramshaw & Marcus 1995 (the first of them), <https://aclanthology.org/W95-0107/>; Ratinov & Roth 2009 (BILOU),
//! <https://aclanthology.org/W09-1119/>.

use super::{Entity, MetricError};
use serde::{Deserialize, Serialize};

/// How tags mark entities.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scheme {
    /// Inside or outside: neighbours of one type are one entity.
    Io,
    /// `B` only where an entity follows one of its type.
    Iob1,
    /// `B` at the beginning of every entity, also called IOB2.
    #[default]
    Bio,
    /// Also `E` at the end, and `S` for entities of one word.
    Bioes,
    /// The same with `L` for last and `U` for unit.
    Bilou,
}

/// What becomes of tags that are out of order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reading {
    /// They begin an entity, as in the tool of the CoNLL shared tasks.
    #[default]
    Lenient,
    /// They mark nothing, as in the strict mode of seqeval.
    Strict,
}

/// Prefixes of the tag before and of a tag, and whether their types must be the same, or must differ.
type Pattern = (&'static str, &'static str, Option<bool>);

/// What a strict scheme allows. `end` is looked at between the last tag of an entity and the one behind it.
struct Rules {
    prefixes: &'static str,
    words: &'static str,
    start: &'static [Pattern],
    inside: &'static [Pattern],
    end: &'static [Pattern],
}

const ANY: &str = "IOBESUL";
const SAME: Option<bool> = Some(true);
const OTHER: Option<bool> = Some(false);

/// Of inside tags the first of a run is the start; with `B`, also the one behind it.
const IOB1: Rules = Rules {
    prefixes: "IOB",
    words: "O, I-TYPE or B-TYPE",
    start: &[("O", "I", None), ("I", "I", OTHER), ("B", "I", None), ("I", "B", SAME), ("B", "B", SAME)],
    inside: &[("B", "I", SAME), ("I", "I", SAME)],
    end: &[
        ("I", "I", OTHER),
        ("I", "O", None),
        ("I", "B", None),
        ("B", "O", None),
        ("B", "I", OTHER),
        ("B", "B", SAME),
    ],
};

const IO: Rules = Rules { prefixes: "IO", words: "O or I-TYPE", ..IOB1 };

const BIO: Rules = Rules {
    prefixes: "IOB",
    words: "O, B-TYPE or I-TYPE",
    start: &[(ANY, "B", None)],
    inside: &[("B", "I", SAME), ("I", "I", SAME)],
    end: &[
        ("I", "O", None),
        ("I", "I", OTHER),
        ("I", "B", None),
        ("B", "O", None),
        ("B", "I", OTHER),
        ("B", "B", None),
    ],
};

const BIOES: Rules = Rules {
    prefixes: "IOBES",
    words: "O, B-TYPE, I-TYPE, E-TYPE or S-TYPE",
    start: &[(ANY, "B", None), (ANY, "S", None)],
    inside: &[("B", "I", SAME), ("B", "E", SAME), ("I", "I", SAME), ("I", "E", SAME)],
    end: &[("S", ANY, None), ("E", ANY, None)],
};

const BILOU: Rules = Rules {
    prefixes: "BILOU",
    words: "O, B-TYPE, I-TYPE, L-TYPE or U-TYPE",
    start: &[(ANY, "B", None), (ANY, "U", None)],
    inside: &[("B", "I", SAME), ("B", "L", SAME), ("I", "I", SAME), ("I", "L", SAME)],
    end: &[("U", ANY, None), ("L", ANY, None)],
};

/// A tag, taken apart.
#[derive(Clone, Copy)]
struct Tag<'a> {
    prefix: char,
    name: &'a str,
}

const OUTSIDE: Tag = Tag { prefix: 'O', name: "_" };

fn fits(patterns: &[Pattern], before: Tag, tag: Tag) -> bool {
    patterns.iter().any(|(first, second, same)| {
        first.contains(before.prefix)
            && second.contains(tag.prefix)
            && same.is_none_or(|same| same == (before.name == tag.name))
    })
}

impl Scheme {
    fn rules(self) -> Rules {
        match self {
            Self::Io => IO,
            Self::Iob1 => IOB1,
            Self::Bio => BIO,
            Self::Bioes => BIOES,
            Self::Bilou => BILOU,
        }
    }

    /// As `get_entities` of seqeval; `L` and `U` of BILOU are its `E` and `S`.
    pub(super) fn lenient<T: AsRef<str>>(self, tags: &[T]) -> Vec<Entity> {
        let mut found: Vec<Entity> = Vec::new();
        let (mut before, mut start) = (OUTSIDE, 0);
        for at in 0..=tags.len() {
            let tag = tags.get(at).map_or(OUTSIDE, |tag| self.leniently(tag.as_ref()));
            if ends(before, tag) {
                found.push(Entity { start, end: at, name: before.name.to_string() });
            }
            if starts(before, tag) {
                start = at;
            }
            before = tag;
        }
        found
    }

    fn leniently(self, tag: &str) -> Tag<'_> {
        let mut rest = tag.chars();
        let prefix = match (rest.next(), self) {
            (None, _) => return OUTSIDE,
            (Some('L'), Self::Bilou) => 'E',
            (Some('U'), Self::Bilou) => 'S',
            (Some(prefix), _) => prefix,
        };
        let rest = rest.as_str();
        let name = rest.split_once('-').map_or(rest, |(_, name)| name);
        Tag { prefix, name: if name.is_empty() { "_" } else { name } }
    }

    /// As `Tokens` of seqeval; `row` is for the error.
    pub(super) fn strict<T: AsRef<str>>(self, tags: &[T], row: usize) -> Result<Vec<Entity>, MetricError> {
        let rules = self.rules();
        let mut all = Vec::with_capacity(tags.len() + 1);
        for (word, tag) in tags.iter().map(AsRef::as_ref).enumerate() {
            let mut rest = tag.chars();
            match rest.next().filter(|&prefix| rules.prefixes.contains(prefix)) {
                Some(prefix) => {
                    let name = rest.as_str().trim_matches('-');
                    all.push(Tag { prefix, name: if name.is_empty() { "_" } else { name } });
                }
                None => {
                    let (got, expected) = (tag.to_string(), rules.words);
                    return Err(MetricError::BadTag { row, word, got, expected });
                }
            }
        }
        all.push(OUTSIDE);
        let mut found = Vec::new();
        let (mut at, mut before) = (0, OUTSIDE);
        while at < all.len() {
            let start = at;
            at += 1;
            if fits(rules.start, before, all[start]) {
                while at < all.len() && fits(rules.inside, all[at - 1], all[at]) {
                    at += 1;
                }
                // The last tag is outside, and no start, so there is always one behind an entity.
                if all.get(at).is_some_and(|&behind| fits(rules.end, all[at - 1], behind)) {
                    found.push(Entity { start, end: at, name: all[start].name.to_string() });
                }
            }
            before = all[at - 1];
        }
        Ok(found)
    }
}

/// Whether an entity ended between two tags.
fn ends(before: Tag, tag: Tag) -> bool {
    match (before.prefix, tag.prefix) {
        ('E' | 'S', _) | ('B' | 'I', 'B' | 'S' | 'O') => true,
        ('O' | '.', _) => false,
        _ => before.name != tag.name,
    }
}

/// Whether one begins at the second of two tags.
fn starts(before: Tag, tag: Tag) -> bool {
    match (before.prefix, tag.prefix) {
        (_, 'B' | 'S') | ('E' | 'S' | 'O', 'E' | 'I') => true,
        (_, 'O' | '.') => false,
        _ => before.name != tag.name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(entities: &[Entity]) -> Vec<(usize, usize, &str)> {
        entities.iter().map(|entity| (entity.start, entity.end, entity.name.as_str())).collect()
    }

    #[test]
    fn out_of_order_is_read_or_refused() {
        let tags = ["I-PER", "I-PER", "B-LOC", "I-ORG", "O", "B"];
        let expected = [(0, 2, "PER"), (2, 3, "LOC"), (3, 4, "ORG"), (5, 6, "_")];
        assert_eq!(told(&Scheme::Bio.lenient(&tags)), expected);
        assert_eq!(told(&Scheme::Bio.strict(&tags, 0).unwrap()), [(2, 3, "LOC"), (5, 6, "_")]);
        let tags = ["B-PER", "I-PER", "L-PER", "U-LOC", "B-X", "O"];
        let expected = [(0, 3, "PER"), (3, 4, "LOC")];
        assert_eq!(told(&Scheme::Bilou.strict(&tags, 0).unwrap()), expected);
        assert_eq!(told(&Scheme::Bilou.lenient(&tags))[..2], expected);
        let tags = ["I-A", "I-A", "I-B", "O", "I-A"];
        for entities in [Scheme::Io.lenient(&tags), Scheme::Io.strict(&tags, 0).unwrap()] {
            assert_eq!(told(&entities), [(0, 2, "A"), (2, 3, "B"), (4, 5, "A")]);
        }
        assert!(Scheme::Io.strict(&["B-A"], 0).is_err());
    }
}

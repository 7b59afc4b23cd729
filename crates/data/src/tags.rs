//! Schemes of tags for named spans: told apart by the tags themselves, and turned into one another.
//!
//! Reference: L. Ramshaw, M. Marcus, "Text Chunking using Transformation-Based Learning", 1995,
//! <https://aclanthology.org/W95-0107>, has the first; E. Tjong Kim Sang, J. Veenstra, "Representing Text Chunks", 1999,
//! §2, <https://aclanthology.org/E99-1023>, the others. Spans in faulty tags are read as `conlleval` reads them.

use std::fmt;

use crate::{Dataset, Label};

/// How tags mark where spans begin and end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// None: each tag stands for itself, as parts of speech do.
    Plain,
    /// `I-` in a span, `O` outside. Two spans of one kind side by side cannot be told from one.
    Io,
    /// `I-` in a span, `B-` only where a span begins right after another of its kind.
    Iob1,
    /// `B-` where a span begins, `I-` where it goes on.
    Iob2,
    /// `B-`, `I-` and `E-` for the first, the middle and the last word, `S-` for a span of one word.
    Bioes,
    /// The same with `L-` and `U-`.
    Bilou,
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Scheme::Plain => "plain",
            Scheme::Io => "IO",
            Scheme::Iob1 => "IOB1",
            Scheme::Iob2 => "BIO (IOB2)",
            Scheme::Bioes => "BIOES",
            Scheme::Bilou => "BILOU",
        })
    }
}

/// Words that belong together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// The first word, from 0.
    pub start: usize,
    /// The word after the last.
    pub end: usize,
    /// What it is: `PER`.
    pub kind: String,
}

/// A tag that its scheme does not allow where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// The word, from 0; the number of words where a span does not end before the sentence does.
    pub at: usize,
    /// The tag before it, `O` at the beginning.
    pub before: String,
    /// The tag, `O` at the end.
    pub tag: String,
}

/// The letter and the kind of a tag: `B` and `PER`, or `O` and nothing. `None` for a tag of no scheme.
fn parts(tag: &str) -> Option<(char, &str)> {
    if tag == "O" {
        return Some(('O', ""));
    }
    let (letter, kind) = tag.split_once('-')?;
    let mut letters = letter.chars();
    let letter = letters.next().filter(|letter| "BIESLU".contains(*letter) && letters.next().is_none())?;
    (!kind.is_empty()).then_some((letter, kind))
}

/// Tells the scheme from the tags of a whole set, sentence by sentence: by the letters, and for `B-` and `I-` by which of
/// IOB1 and IOB2 fewer tags break. Tags without any span count as IOB2.
pub fn detect<'a, S: IntoIterator<Item = &'a str>>(sentences: impl IntoIterator<Item = S>) -> Scheme {
    let (mut begins, mut ends, mut lasts, mut insides) = (false, false, false, false);
    // Tags that are not allowed in one of the two.
    let (mut against_iob1, mut against_iob2) = (0usize, 0usize);
    for sentence in sentences {
        let mut before = "";
        for tag in sentence {
            let Some((letter, kind)) = parts(tag) else { return Scheme::Plain };
            match letter {
                'B' => {
                    begins = true;
                    against_iob1 += usize::from(before != kind);
                }
                'I' => {
                    insides = true;
                    against_iob2 += usize::from(before != kind);
                }
                'E' | 'S' => ends = true,
                'L' | 'U' => lasts = true,
                _ => {}
            }
            before = kind;
        }
    }
    match (ends, lasts) {
        (true, _) => Scheme::Bioes,
        (false, true) => Scheme::Bilou,
        _ if insides && !begins => Scheme::Io,
        _ if against_iob1 < against_iob2 => Scheme::Iob1,
        _ => Scheme::Iob2,
    }
}

/// The spans of a sentence, and the tags that the scheme does not allow where they stand. A tag that goes on with
/// nothing begins a span; a span that is not closed ends where it is left.
pub fn spans<'a>(tags: impl IntoIterator<Item = &'a str>, scheme: Scheme) -> (Vec<Span>, Vec<Malformed>) {
    let (mut found, mut malformed): (Vec<Span>, Vec<Malformed>) = (Vec::new(), Vec::new());
    if scheme == Scheme::Plain {
        return (found, malformed);
    }
    let closes = matches!(scheme, Scheme::Bioes | Scheme::Bilou);
    let letters = match scheme {
        Scheme::Plain | Scheme::Io => "OI",
        Scheme::Iob1 | Scheme::Iob2 => "OIB",
        Scheme::Bioes => "OBIES",
        Scheme::Bilou => "OBILU",
    };
    // Whether the last span found goes on.
    let mut open = false;
    let mut before = "O";
    let mut count = 0;
    for (at, tag) in tags.into_iter().enumerate() {
        count = at + 1;
        let mut fault = |is: bool| {
            if is {
                malformed.push(Malformed { at, before: before.into(), tag: tag.into() });
            }
        };
        let (letter, kind) = parts(tag).unwrap_or(('O', ""));
        let goes_on = open && found.last().is_some_and(|span| span.kind == kind);
        let known = letters.contains(letter) && (letter != 'O' || tag == "O");
        match letter {
            'O' => {
                fault(!known || (open && closes));
                open = false;
            }
            'I' | 'E' | 'L' if goes_on => {
                fault(!known);
                if let Some(span) = found.last_mut() {
                    span.end = at + 1;
                }
                open = letter == 'I';
            }
            _ => {
                let allowed = match letter {
                    'I' => matches!(scheme, Scheme::Io | Scheme::Iob1),
                    'E' | 'L' => false,
                    'B' if scheme == Scheme::Iob1 => goes_on,
                    _ => !(open && closes),
                };
                fault(!known || !allowed);
                found.push(Span { start: at, end: at + 1, kind: kind.into() });
                open = matches!(letter, 'B' | 'I');
            }
        }
        before = tag;
    }
    if open && closes {
        malformed.push(Malformed { at: count, before: before.into(), tag: "O".into() });
    }
    (found, malformed)
}

/// The tags of a sentence of `words` words with these spans, which are in order and do not overlap.
pub fn tags(spans: &[Span], words: usize, scheme: Scheme) -> Vec<String> {
    let mut tags = vec!["O".to_string(); words];
    for (index, span) in spans.iter().enumerate() {
        let beside = index > 0 && spans[index - 1].end == span.start && spans[index - 1].kind == span.kind;
        let last = span.end - 1;
        for (at, tag) in tags.iter_mut().enumerate().take(span.end).skip(span.start) {
            let letter = match scheme {
                Scheme::Plain | Scheme::Io => 'I',
                Scheme::Iob1 if at == span.start && beside => 'B',
                Scheme::Iob1 => 'I',
                Scheme::Iob2 if at == span.start => 'B',
                Scheme::Iob2 => 'I',
                Scheme::Bioes if span.start == last => 'S',
                Scheme::Bioes if at == last => 'E',
                Scheme::Bilou if span.start == last => 'U',
                Scheme::Bilou if at == last => 'L',
                Scheme::Bioes | Scheme::Bilou if at == span.start => 'B',
                Scheme::Bioes | Scheme::Bilou => 'I',
            };
            *tag = format!("{letter}-{}", span.kind);
        }
    }
    tags
}

/// The tags of a sentence in BIO (IOB2), and what was not allowed in them. Plain tags stay as they are.
pub fn to_bio<'a>(
    sentence: impl IntoIterator<Item = &'a str>,
    scheme: Scheme,
) -> (Vec<String>, Vec<Malformed>) {
    let sentence: Vec<&str> = sentence.into_iter().collect();
    if scheme == Scheme::Plain {
        return (sentence.into_iter().map(String::from).collect(), Vec::new());
    }
    let (spans, malformed) = spans(sentence.iter().copied(), scheme);
    (tags(&spans, sentence.len(), Scheme::Iob2), malformed)
}

/// BIO (IOB2) tags of a sentence in another scheme. Plain tags stay as they are.
pub fn from_bio<'a>(sentence: impl IntoIterator<Item = &'a str>, scheme: Scheme) -> Vec<String> {
    let sentence: Vec<&str> = sentence.into_iter().collect();
    if scheme == Scheme::Plain {
        return sentence.into_iter().map(String::from).collect();
    }
    let (spans, _) = spans(sentence.iter().copied(), Scheme::Iob2);
    tags(&spans, sentence.len(), scheme)
}

/// What turning a set into BIO did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Converted {
    /// The scheme it was in.
    pub scheme: Scheme,
    /// Tags that were not allowed where they stood.
    pub malformed: usize,
    /// The first of them (at most 5): where the sentence stands, and the tag.
    pub first: Vec<(String, Malformed)>,
}

impl Converted {
    /// The change as lines for the user.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = vec![match self.scheme {
            Scheme::Plain => "tags are taken as they are".to_string(),
            Scheme::Iob2 => format!("tags are {}", self.scheme),
            scheme => format!("tags are {scheme}, turned into BIO"),
        }];
        if self.malformed > 0 {
            lines.push(format!("{} tags are not allowed where they stand:", self.malformed));
            lines.extend(self.first.iter().map(|(place, found)| {
                format!("  {place}, word {}: {} after {}", found.at + 1, found.tag, found.before)
            }));
        }
        lines
    }
}

/// Tells the scheme of the tags of a set.
pub fn scheme_of(dataset: &Dataset) -> Scheme {
    detect(dataset.examples.iter().filter_map(|example| match &example.label {
        Some(Label::Words(words)) => Some(words.iter().map(|word| word.tag.as_str())),
        _ => None,
    }))
}

/// Turns the tags of a set into BIO. A set too small to show its scheme (no two spans side by side) is turned with the
/// `scheme` of the set it belongs to; `None` tells it by its tags.
pub fn convert(dataset: &mut Dataset, scheme: Option<Scheme>) -> Converted {
    let scheme = scheme.unwrap_or_else(|| scheme_of(dataset));
    let mut converted = Converted { scheme, malformed: 0, first: Vec::new() };
    for index in 0..dataset.len() {
        let Some(Label::Words(words)) = &mut dataset.examples[index].label else { continue };
        let (tags, malformed) = to_bio(words.iter().map(|word| word.tag.as_str()), scheme);
        words.iter_mut().zip(tags).for_each(|(word, tag)| word.tag = tag);
        converted.malformed += malformed.len();
        let room = 5usize.saturating_sub(converted.first.len());
        let first = malformed.into_iter().take(room).map(|found| (dataset.place(index), found));
        converted.first.extend(first);
    }
    converted
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn words(tags: &str) -> Vec<&str> {
        tags.split_whitespace().collect()
    }

    #[test]
    fn each_scheme_is_told_by_its_tags() {
        let check = |sentences: &[&str], expected| {
            assert_eq!(detect(sentences.iter().map(|tags| words(tags))), expected, "{sentences:?}");
        };
        check(&["NN VB O-x"], Scheme::Plain);
        check(&["B-PER I-PER O", "PRP$"], Scheme::Plain);
        check(&["I-PER I-PER O I-LOC"], Scheme::Io);
        check(&["I-PER B-PER O I-LOC"], Scheme::Iob1);
        check(&["B-PER I-PER O B-LOC"], Scheme::Iob2);
        check(&["B-PER O", "O O"], Scheme::Iob2);
        check(&["O O"], Scheme::Iob2);
        check(&["B-PER I-PER O B-LOC", "O I-PER", "B-LOC B-PER"], Scheme::Iob2);
        check(&["B-PER E-PER O S-LOC"], Scheme::Bioes);
        check(&["O S-LOC"], Scheme::Bioes);
        check(&["B-PER L-PER O U-LOC"], Scheme::Bilou);
    }

    #[test]
    fn what_a_scheme_does_not_allow_is_named() {
        let check = |tags: &str, scheme, bio: &str, at: &[usize]| {
            let (found, malformed) = to_bio(words(tags), scheme);
            assert_eq!(found, words(bio), "{tags}");
            assert_eq!(
                malformed.iter().map(|found| found.at).collect::<Vec<_>>(),
                at,
                "{tags}: {malformed:?}"
            );
        };
        check("O I-PER I-PER", Scheme::Iob2, "O B-PER I-PER", &[1]);
        check("B-PER I-LOC", Scheme::Iob2, "B-PER B-LOC", &[1]);
        check("B-PER S-PER", Scheme::Iob2, "B-PER B-PER", &[1]);
        check("O B-PER I-PER B-PER", Scheme::Iob1, "O B-PER I-PER B-PER", &[1]);
        check("I-PER I-PER B-PER I-LOC", Scheme::Iob1, "B-PER I-PER B-PER B-LOC", &[]);
        check("B-PER O", Scheme::Bioes, "B-PER O", &[1]);
        check("B-PER I-PER", Scheme::Bioes, "B-PER I-PER", &[2]);
        check("E-PER S-PER B-PER S-PER", Scheme::Bioes, "B-PER B-PER B-PER B-PER", &[0, 3]);
        check("B-PER L-PER U-PER I-PER", Scheme::Bilou, "B-PER I-PER B-PER B-PER", &[3, 4]);
        check("I-PER B-PER", Scheme::Io, "B-PER B-PER", &[1]);
        check("NN O", Scheme::Iob2, "O O", &[0]);
        check("NN O", Scheme::Plain, "NN O", &[]);
        let (_, malformed) = to_bio(words("O I-PER"), Scheme::Iob2);
        assert_eq!(malformed, [Malformed { at: 1, before: "O".into(), tag: "I-PER".into() }]);
    }

    proptest! {
        /// To any scheme and back is the same; only IO forgets where one span of a kind ends beside another.
        #[test]
        fn schemes_say_the_same(picks in prop::collection::vec((1..4usize, 0..3usize), 0..8)) {
            let mut spans_made = Vec::new();
            let mut at = 0;
            for (length, kind) in picks {
                if kind < 2 {
                    let kind = ["PER", "LOC"][kind].to_string();
                    spans_made.push(Span { start: at, end: at + length, kind });
                }
                at += length;
            }
            let bio = tags(&spans_made, at, Scheme::Iob2);
            let sentence = || bio.iter().map(String::as_str);
            prop_assert_eq!(spans(sentence(), Scheme::Iob2), (spans_made.clone(), vec![]));
            for scheme in [Scheme::Iob1, Scheme::Iob2, Scheme::Bioes, Scheme::Bilou, Scheme::Plain] {
                let other = from_bio(sentence(), scheme);
                let (back, malformed) = to_bio(other.iter().map(String::as_str), scheme);
                prop_assert_eq!(&back, &bio, "{}", scheme);
                prop_assert_eq!(malformed, vec![]);
            }
            let beside = spans_made.windows(2).any(|two| two[0].end == two[1].start && two[0].kind == two[1].kind);
            let io = from_bio(sentence(), Scheme::Io);
            prop_assert_eq!(to_bio(io.iter().map(String::as_str), Scheme::Io).0 == bio, !beside);
        }
    }
}

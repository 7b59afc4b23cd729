//! A text to words, as BERT's splitter has them: at white space, and each mark of punctuation and each Chinese
//! character by itself.
//!
//! Reference: `BasicTokenizer` in <https://github.com/google-research/bert/blob/master/tokenization.py>; here nothing
//! is lowered or stripped, so that the words are pieces of the text.

use std::ops::Range;

use unicode_categories::UnicodeCategories;

/// Where the words of a text stand, in bytes, in order.
pub fn words(text: &str) -> Vec<Range<usize>> {
    let mut words = Vec::new();
    let mut start = None;
    for (at, c) in text.char_indices() {
        let alone = is_punctuation(c) || is_chinese(c);
        if (alone || is_space(c))
            && let Some(start) = start.take()
        {
            words.push(start..at);
        }
        if alone {
            words.push(at..at + c.len_utf8());
        } else if !is_space(c) && start.is_none() {
            start = Some(at);
        }
    }
    words.extend(start.map(|start| start..text.len()));
    words
}

/// White space, and characters that are not seen.
fn is_space(c: char) -> bool {
    c.is_whitespace() || c.is_control()
}

/// Every mark of ASCII counts, symbols such as `$` and `^` too.
fn is_punctuation(c: char) -> bool {
    c.is_ascii_punctuation() || c.is_punctuation()
}

/// The blocks of Chinese characters, which are written without spaces between words.
fn is_chinese(c: char) -> bool {
    matches!(u32::from(c),
        0x4e00..=0x9fff | 0x3400..=0x4dbf | 0x20000..=0x2a6df | 0x2a700..=0x2b73f | 0x2b740..=0x2b81f
        | 0x2b820..=0x2ceaf | 0xf900..=0xfaff | 0x2f800..=0x2fa1f)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_end_at_space_and_marks_and_chinese_characters() {
        let check = |text: &str, expected: &[&str]| {
            let found: Vec<&str> = words(text).into_iter().map(|word| &text[word]).collect();
            assert_eq!(found, expected, "{text:?}");
        };
        check(
            "  The tree's\tU.S. price: $5 ",
            &["The", "tree", "'", "s", "U", ".", "S", ".", "price", ":", "$", "5"],
        );
        check(
            "\u{e9}t\u{e9}\u{2014}\u{6811}\u{6728}a\u{a0}b",
            &["\u{e9}t\u{e9}", "\u{2014}", "\u{6811}", "\u{6728}", "a", "b"],
        );
        check("", &[]);
        check(" \n", &[]);
    }
}

//! Words of a text, as scikit-learn's vectorizers see them.

/// Calls `visit` with each word of `text`: a run of two or more letters, digits or underscores (the pattern
/// `\b\w\w+\b`). Differs from Python's `\w` in that vowel signs of Indic scripts belong to their word.
pub(super) fn for_each_word(text: &str, mut visit: impl FnMut(&str)) {
    for run in text.split(|c: char| !c.is_alphanumeric() && c != '_') {
        if run.chars().nth(1).is_some() {
            visit(run);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_have_two_letters_or_more() {
        let check = |text: &str, expected: &[&str]| {
            let mut words = Vec::new();
            for_each_word(text, |word| words.push(word.to_string()));
            assert_eq!(words, expected, "{text:?}");
        };
        check("I don't e-mail a_b, Straße!", &["don", "mail", "a_b", "Straße"]);
        check("", &[]);
        check("a ! é 5", &[]);
        check("é5 १२ 中文", &["é5", "१२", "中文"]);
    }
}

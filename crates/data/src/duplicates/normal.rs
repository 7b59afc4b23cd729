//! What is not counted as a difference.

/// Lower case, digits all alike, white space runs as one space, none at the ends.
pub(super) fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for word in text.split_whitespace() {
        if !out.is_empty() {
            out.push(' ');
        }
        for c in word.chars() {
            if c.is_ascii_digit() {
                out.push('0');
            } else if c.is_ascii() {
                out.push(c.to_ascii_lowercase());
            } else {
                out.extend(c.to_lowercase());
            }
        }
    }
    out
}

/// The letters and digits of a plain text with a space at each end and between words: what near duplicates are
/// compared by. A text of punctuation alone is compared as it is.
pub(super) fn letters(plain: &str) -> Vec<char> {
    let mut out = Vec::with_capacity(plain.len() + 2);
    out.push(' ');
    for c in plain.chars() {
        if c.is_alphanumeric() {
            out.push(c);
        } else if out.last() != Some(&' ') {
            out.push(' ');
        }
    }
    if out.len() == 1 {
        return plain.chars().collect();
    }
    if out.last() != Some(&' ') {
        out.push(' ');
    }
    out
}

//! The stems of English words by Porter's rules, with the additions of NLTK, which ROUGE is measured with.
//!
//! Paper: Porter 1980, An algorithm for suffix stripping, <https://doi.org/10.1108/eb046814>; differs from the paper as
//! `nltk.stem.PorterStemmer` does: irregular words, short words, and rules of steps 1 and 2.

/// The stem of a word of ASCII letters and digits in lower case.
pub(super) fn stem(word: &str) -> String {
    if let Some((_, stem)) = IRREGULAR.iter().find(|(form, _)| *form == word) {
        return (*stem).to_string();
    }
    if word.len() <= 2 {
        return word.to_string();
    }
    let word = plural(word);
    let word = past(word);
    let word = final_y(word);
    let word = double_suffix(word);
    let word = replaced(word, ICATE, 0);
    let word = bare(word);
    let word = final_e(word);
    if word.ends_with("ll") && measure(&word[..word.len() - 1]) > 1 {
        return word[..word.len() - 1].to_string();
    }
    word
}

const IRREGULAR: &[(&str, &str)] = &[
    ("sky", "sky"),
    ("skies", "sky"),
    ("dying", "die"),
    ("lying", "lie"),
    ("tying", "tie"),
    ("news", "news"),
    ("innings", "inning"),
    ("inning", "inning"),
    ("outings", "outing"),
    ("outing", "outing"),
    ("cannings", "canning"),
    ("canning", "canning"),
    ("howe", "howe"),
    ("proceed", "proceed"),
    ("exceed", "exceed"),
    ("succeed", "succeed"),
];

/// Step 2: the first suffix that fits decides.
const ATIONAL: &[(&str, &str)] = &[
    ("ational", "ate"),
    ("tional", "tion"),
    ("enci", "ence"),
    ("anci", "ance"),
    ("izer", "ize"),
    ("bli", "ble"),
    ("alli", "al"),
    ("entli", "ent"),
    ("eli", "e"),
    ("ousli", "ous"),
    ("ization", "ize"),
    ("ation", "ate"),
    ("ator", "ate"),
    ("alism", "al"),
    ("iveness", "ive"),
    ("fulness", "ful"),
    ("ousness", "ous"),
    ("aliti", "al"),
    ("iviti", "ive"),
    ("biliti", "ble"),
    ("fulli", "ful"),
];

/// Step 3.
const ICATE: &[(&str, &str)] = &[
    ("icate", "ic"),
    ("ative", ""),
    ("alize", "al"),
    ("iciti", "ic"),
    ("ical", "ic"),
    ("ful", ""),
    ("ness", ""),
];

/// Step 4.
const BARE: &[&str] = &[
    "al", "ance", "ence", "er", "ic", "able", "ible", "ant", "ement", "ment", "ent", "ion", "ou", "ism",
    "ate", "iti", "ous", "ive", "ize",
];

/// Step 1a.
fn plural(word: &str) -> String {
    let cut = |by: usize| word[..word.len() - by].to_string();
    match word {
        _ if word.ends_with("ies") && word.len() == 4 => cut(1),
        _ if word.ends_with("sses") || word.ends_with("ies") => cut(2),
        _ if word.ends_with("ss") || !word.ends_with('s') => cut(0),
        _ => cut(1),
    }
}

/// Step 1b.
fn past(mut word: String) -> String {
    if word.ends_with("ied") {
        word.truncate(word.len() - if word.len() == 4 { 1 } else { 2 });
        return word;
    }
    if let Some(stem) = word.strip_suffix("eed") {
        let cut = usize::from(measure(stem) > 0);
        word.truncate(word.len() - cut);
        return word;
    }
    let stem =
        ["ed", "ing"].iter().filter_map(|suffix| word.strip_suffix(suffix)).find(|stem| has_vowel(stem));
    let Some(stem) = stem.map(str::to_string) else { return word };
    if ["at", "bl", "iz"].iter().any(|end| stem.ends_with(end)) {
        return stem + "e";
    }
    let letters = stem.as_bytes();
    let last = letters[letters.len() - 1];
    let double =
        letters.len() >= 2 && letters[letters.len() - 2] == last && consonant(letters, letters.len() - 1);
    if double {
        let keep = letters.len() - usize::from(!b"lsz".contains(&last));
        return stem[..keep].to_string();
    }
    if measure(&stem) == 1 && short(&stem) { stem + "e" } else { stem }
}

/// Step 1c.
fn final_y(mut word: String) -> String {
    if let Some(stem) = word.strip_suffix('y')
        && stem.len() > 1
        && consonant(stem.as_bytes(), stem.len() - 1)
    {
        word.truncate(word.len() - 1);
        word.push('i');
    }
    word
}

/// Step 2.
fn double_suffix(word: String) -> String {
    if let Some(stem) = word.strip_suffix("alli")
        && measure(stem) > 0
    {
        return double_suffix(format!("{stem}al"));
    }
    if ATIONAL.iter().any(|(suffix, _)| word.ends_with(suffix)) {
        return replaced(word, ATIONAL, 0);
    }
    match word.strip_suffix("logi") {
        Some(stem) if measure(&word[..word.len() - 3]) > 0 => format!("{stem}log"),
        _ => word,
    }
}

/// Step 4.
fn bare(mut word: String) -> String {
    if let Some(suffix) = BARE.iter().find(|suffix| word.ends_with(**suffix)) {
        let stem = &word[..word.len() - suffix.len()];
        let fits = *suffix != "ion" || stem.ends_with(['s', 't']);
        if measure(stem) > 1 && fits {
            let keep = stem.len();
            word.truncate(keep);
        }
    }
    word
}

/// Step 5a.
fn final_e(mut word: String) -> String {
    if let Some(stem) = word.strip_suffix('e') {
        let measure = measure(stem);
        if measure > 1 || (measure == 1 && !short(stem)) {
            word.truncate(word.len() - 1);
        }
    }
    word
}

/// The first rule whose suffix fits, where what stands before it has a greater measure than `least`.
fn replaced(word: String, rules: &[(&str, &str)], least: usize) -> String {
    for (suffix, other) in rules {
        if let Some(stem) = word.strip_suffix(suffix) {
            return if measure(stem) > least { format!("{stem}{other}") } else { word };
        }
    }
    word
}

/// Whether each letter is a consonant; `y` is one unless it follows one.
fn consonants(word: &[u8]) -> impl Iterator<Item = bool> + '_ {
    word.iter().scan(false, |before, letter| {
        *before = match letter {
            b'a' | b'e' | b'i' | b'o' | b'u' => false,
            b'y' => !*before,
            _ => true,
        };
        Some(*before)
    })
}

fn consonant(word: &[u8], at: usize) -> bool {
    consonants(word).nth(at).unwrap_or(false)
}

fn has_vowel(word: &str) -> bool {
    consonants(word.as_bytes()).any(|consonant| !consonant)
}

/// How often a consonant follows a vowel.
fn measure(word: &str) -> usize {
    let mut before = true;
    let mut count = 0;
    for consonant in consonants(word.as_bytes()) {
        count += usize::from(consonant && !before);
        before = consonant;
    }
    count
}

/// Whether the end is consonant, vowel, consonant, the last of them not w, x or y; or the word is a vowel and a consonant.
fn short(word: &str) -> bool {
    let letters = word.as_bytes();
    let flags: Vec<bool> = consonants(letters).collect();
    match flags[..] {
        [.., true, false, true] => !b"wxy".contains(&letters[letters.len() - 1]),
        [false, true] => true,
        _ => false,
    }
}

//! Lines of text made by a seed: most as they are at hand, the others changed in the ways that texts go wrong.
//! The same seed, texts and number give the same line on every machine.

/// Random numbers of one line (splitmix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `limit`, which is not 0.
    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    fn one_of<'a>(&mut self, strings: &[&'a str]) -> &'a str {
        strings[self.below(strings.len())]
    }

    /// Any character there is, those of the first planes more often.
    fn char(&mut self) -> char {
        loop {
            let planes = [0x80, 0x800, 0x1_0000, 0x2_0000, 0x11_0000][self.below(5)];
            if let Some(char) = char::from_u32(self.below(planes) as u32) {
                return char;
            }
        }
    }
}

/// What is put into lines: scripts, signs, marks, spaces, controls, and forms of tokens and words that are not whole.
const FRAGMENTS: &[&str] = &[
    "Привет, мир",
    "ΑΒΓ Σίσυφος",
    "日本語のテキスト",
    "中文，文本。",
    "한국어",
    "\u{1112}\u{1161}\u{11ab}",
    "हिन्दी",
    "ภาษาไทย ำ",
    "العربية دَ",
    "עִבְרִית",
    "İstanbul ß ẞ ﬁ ǆ",
    "Ⅷ ½ ² ℃ ㍿ ﷺ",
    "ｆｕｌｌ　ｗｉｄｔｈ",
    "𝒳𝔘 𠀀",
    "🙂",
    "👩\u{200d}👩\u{200d}👧",
    "❤\u{fe0f}",
    "🇩🇪",
    "👍\u{1f3fd}",
    "e\u{301}",
    "a\u{316}\u{301}\u{345}",
    "\u{301}",
    " \u{308}",
    "か\u{3099}",
    "\u{1d165}\u{20dd}",
    "\u{e33}",
    "\u{600}",
    "\0",
    "\u{1}",
    "\u{1b}[0m",
    "\u{7f}",
    "\u{85}",
    "\u{ad}",
    "\u{200b}",
    "\u{200e}",
    "\u{2028}",
    "\u{feff}",
    "\u{fffd}",
    "\u{e000}",
    "\u{10ffff}",
    "\t",
    "\r",
    " ",
    "  ",
    "     ",
    "\u{a0}",
    "\u{3000}",
    "'s",
    "'S",
    "'re ",
    "'l",
    "''",
    "``",
    "…",
    "\u{2014}",
    "\u{2019}",
    "!?!?",
    "....",
    "#@$%^&*",
    "▁",
    " ▁ ",
    "Ġ",
    "##ing",
    "[CLS]",
    " [MASK] ",
    "[MASK",
    "<s>",
    "<mask> ",
    "</s",
    "<unk>",
    "<pad>",
    "<0x0A>",
    "1234567890",
    "3.14e-10",
    "http://a.b/c?d=e&f",
    "naïve café",
    "FOO_bar-Baz",
];

/// The texts as pieces of at most some hundred bytes, none of them empty.
pub fn pieces(text: &str) -> impl Iterator<Item = &str> {
    text.lines().flat_map(|line| {
        let mut rest = line;
        std::iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            let mut end = rest.len();
            if end > 400 {
                end = rest.floor_char_boundary(300);
                end = rest[..end].rfind(' ').filter(|&space| space > 0).unwrap_or(end);
            }
            let (piece, after) = rest.split_at(end);
            rest = after;
            Some(piece)
        })
    })
}

/// Line `number`, into `line`. About half of the lines are one of the texts, which must not be none.
pub fn make(texts: &[&str], seed: u64, number: u64, line: &mut String) {
    let mut random = Random(seed ^ number.wrapping_mul(0xd6e8_feb8_6659_fd93));
    line.clear();
    line.push_str(texts[random.below(texts.len())]);
    if random.below(2) == 0 {
        return;
    }
    for _ in 0..=random.below(3) {
        change(texts, &mut random, line);
    }
    // A line is one line.
    if line.contains('\n') {
        *line = line.replace('\n', "\r");
    }
}

fn change(texts: &[&str], random: &mut Random, line: &mut String) {
    let at = line.floor_char_boundary(random.below(line.len() + 1));
    match random.below(14) {
        0..=3 => line.insert_str(at, random.one_of(FRAGMENTS)),
        4 => line.insert(at, random.char()),
        5 => *line = line.to_uppercase(),
        6 => *line = line.to_lowercase(),
        7 => {
            line.push_str(random.one_of(FRAGMENTS));
            line.push_str(texts[random.below(texts.len())]);
        }
        8 => {
            // A very long word, or a long row of something that is none.
            let part = match random.below(3) {
                0 => random.one_of(FRAGMENTS).to_string(),
                1 => random.char().to_string(),
                _ => line[..at].chars().rev().take(5).filter(|char| !char.is_whitespace()).collect(),
            };
            line.insert_str(at, &part.repeat(1 << random.below(9)));
        }
        9 => {
            if at < line.len() {
                line.remove(at);
            }
        }
        10 => line.truncate(at),
        11 => line.retain(|char| char != ' '),
        12 => *line = line.replace(' ', random.one_of(&["  ", "\t", "\u{a0}", " \u{301}", "\u{200b} ", "▁"])),
        _ => {
            *line = line
                .chars()
                .flat_map(|char| [Some(char), (char == 'e').then_some('\u{301}')])
                .flatten()
                .collect()
        }
    }
}

//! Columns of words and tags, a word a line and a blank line between sentences, as the shared tasks of CoNLL have them.
//!
//! The text is the words joined by one space: these files do not say where there was none. The tags stay as they are;
//! [`tags`](crate::tags) tells their scheme and turns it.

use super::faults::{Faults, shown};
use super::lines::{Lines, bare};
use super::source::Source;
use crate::dataset::{Dataset, Example, Label, TaggedWord};
use crate::report::{ChosenColumn, ReadReport};
use crate::{Error, Format, ReadOptions, Result, Task, tags};

/// What stands between two documents.
const DOCUMENT: &str = "-DOCSTART-";

/// Names of the columns, by their number. The third of three is chunks (2000) or names (2002).
const NAMES: &[(usize, &[&str])] = &[
    (2, &["word", "ner"]),
    (3, &["word", "pos", "chunk"]),
    (3, &["word", "pos", "ner"]),
    (4, &["word", "pos", "chunk", "ner"]),
];

pub(super) fn read(source: &Source, options: &ReadOptions) -> Result<Dataset> {
    let path = source.path();
    let tabs = match options.delimiter {
        Some(delimiter) => delimiter == '\t',
        None => has_tabs(&source.sample()?),
    };
    let labelled = options.task == Task::Tags;
    let mut lines = Lines::new(source.open()?, path, options.max_record_bytes);
    let mut layout: Option<Layout> = None;
    let mut faults = Faults::new(path);
    let mut examples = Vec::new();
    let mut sentence = Sentence::default();
    let (mut documents, mut comments) = (0usize, 0usize);
    loop {
        let number = lines.line() + 1;
        let line = lines.next()?.map(bare);
        let Some(line) = line.filter(|line| !line.trim_matches([' ', '\t']).is_empty()) else {
            let over = line.is_none();
            examples.extend(std::mem::take(&mut sentence).finish(labelled));
            if over {
                break;
            }
            continue;
        };
        let fields: Vec<&str> = if tabs {
            line.split('\t').collect()
        } else {
            line.split([' ', '\t']).filter(|field| !field.is_empty()).collect()
        };
        if fields[0] == DOCUMENT {
            documents += 1;
            continue;
        }
        // A word may begin with the mark too; it has as many fields as the others and stands among them.
        let fits = layout.as_ref().is_some_and(|layout| layout.width == fields.len());
        if line.starts_with("# ") && sentence.words.is_empty() && !fits {
            comments += 1;
            continue;
        }
        let layout = match &mut layout {
            Some(layout) => layout,
            none => none.insert(Layout::new(source, &fields, number, options)?),
        };
        if fields.len() != layout.width {
            let expected = format!("{} fields as in line {}", layout.width, layout.line);
            let got = format!("{}: {}", fields.len(), shown(line));
            faults.add(
                format_args!("line {number}"),
                expected,
                got,
                "correct the line, or say the delimiter",
            );
            continue;
        }
        let (word, tag) = (fields[layout.word].trim(), fields[layout.tag].trim());
        if word.is_empty() || tag.is_empty() {
            let (expected, column) =
                if word.is_empty() { ("a word", layout.word) } else { ("a tag", layout.tag) };
            let got = format!("nothing in column {}: {}", column + 1, shown(line));
            faults.add(format_args!("line {number}"), expected, got, "correct the line or remove it");
            continue;
        }
        sentence.push(number, word, tag);
        if sentence.bytes > options.max_record_bytes {
            return Err(Error::RecordTooLong {
                path: path.into(),
                line: sentence.line,
                limit: options.max_record_bytes,
            });
        }
    }
    faults.finish()?;
    let Some(layout) = layout.filter(|_| !examples.is_empty()) else {
        return Err(Error::Empty { path: path.into(), what: "there is no word in the file".into() });
    };
    let mut notes = vec![format!("columns are separated by {}", if tabs { "tabs" } else { "white space" })];
    notes.extend((documents > 0).then(|| format!("{documents} lines {DOCUMENT} left out")));
    notes.extend((comments > 0).then(|| format!("{comments} comments left out")));
    let report = ReadReport {
        path: path.into(),
        format: Format::Conll,
        text: layout.text,
        pair: None,
        label: layout.label.into_iter().filter(|_| labelled).collect(),
        rows_read: examples.len(),
        skipped: Vec::new(),
        notes,
    };
    let mut dataset = Dataset { examples, report, files: Vec::new(), pictures: false };
    if labelled {
        dataset.report.notes.push(format!("scheme of the tags: {}", tags::scheme_of(&dataset)));
    }
    Ok(dataset)
}

/// True when every line of the sample with anything in it has a tab, comments and marks of documents aside.
fn has_tabs(sample: &[u8]) -> bool {
    let text = String::from_utf8_lossy(sample);
    let mut lines = text
        .lines()
        .filter(|line| !line.trim().is_empty() && !line.starts_with("# ") && !line.starts_with(DOCUMENT));
    // The last line may be cut off.
    let count = lines.clone().count();
    count > 0 && lines.by_ref().take(count.saturating_sub(1).max(1)).all(|line| line.contains('\t'))
}

/// True when the sample has lines of few fields, the same number in each, and blank lines between them.
pub(super) fn looks_so(sample: &[u8]) -> bool {
    let text = String::from_utf8_lossy(sample);
    let tabs = has_tabs(sample);
    let (mut width, mut blank, mut words) = (None, 0usize, 0usize);
    let complete = text.rfind('\n').map_or(text.as_ref(), |end| &text[..end]);
    for line in complete.trim_start_matches('\u{feff}').lines() {
        if line.trim().is_empty() {
            blank += usize::from(words > 0);
            continue;
        }
        if line.starts_with("# ") || line.starts_with(DOCUMENT) {
            continue;
        }
        let fields = if tabs { line.split('\t').count() } else { line.split_whitespace().count() };
        if *width.get_or_insert(fields) != fields {
            return false;
        }
        words += 1;
    }
    // One sentence needs no blank line.
    width.is_some_and(|width| (2..=20).contains(&width)) && (blank > 0 || words < 100)
}

/// Which columns are used.
struct Layout {
    width: usize,
    /// The line that set the width.
    line: usize,
    word: usize,
    tag: usize,
    text: ChosenColumn,
    label: Option<ChosenColumn>,
}

impl Layout {
    fn new(source: &Source, fields: &[&str], line: usize, options: &ReadOptions) -> Result<Self> {
        let width = fields.len();
        let path = source.path();
        let columns = || -> Vec<String> {
            fields.iter().enumerate().map(|(at, field)| format!("{} ({})", at + 1, shown(field))).collect()
        };
        let find = |role, wanted: &str| -> Result<usize> {
            let number = wanted.parse().ok().filter(|number| (1..=width).contains(number)).map(|at| at - 1);
            let named = || {
                let names = NAMES.iter().filter(|(columns, _)| *columns == width);
                names.filter_map(|(_, names)| names.iter().position(|name| *name == wanted)).next()
            };
            number.or_else(named).ok_or_else(|| Error::MissingColumn {
                path: path.into(),
                role,
                wanted: wanted.into(),
                columns: columns(),
                suggestion: None,
            })
        };
        let chosen = |at: usize, why: &str| ChosenColumn { name: (at + 1).to_string(), why: why.into() };
        let (word, text) = match &options.text {
            Some(wanted) => find("text", wanted).map(|at| (at, chosen(at, "as said")))?,
            None => (0, chosen(0, "the first")),
        };
        if options.task != Task::Tags {
            return Ok(Self { width, line, word, tag: word, text, label: None });
        }
        let (tag, label) = match options.label.as_slice() {
            [wanted] => find("label", wanted).map(|at| (at, chosen(at, "as said")))?,
            _ => (width - 1, chosen(width - 1, "the last")),
        };
        if tag == word {
            return Err(Error::UnclearColumn {
                path: path.into(),
                role: "label",
                why: "there is no column beside the words".into(),
                columns: columns(),
                option: "--label",
            });
        }
        Ok(Self { width, line, word, tag, text, label: Some(label) })
    }
}

/// The words of a sentence so far.
#[derive(Default)]
struct Sentence {
    line: usize,
    text: String,
    words: Vec<TaggedWord>,
    bytes: usize,
}

impl Sentence {
    fn push(&mut self, line: usize, word: &str, tag: &str) {
        if self.words.is_empty() {
            self.line = line;
        } else {
            self.text.push(' ');
        }
        let start = self.text.len();
        self.text.push_str(word);
        self.words.push(TaggedWord { start, end: self.text.len(), tag: tag.into() });
        self.bytes += word.len() + tag.len();
    }

    fn finish(self, labelled: bool) -> Option<Example> {
        let label = labelled.then_some(Label::Words(self.words));
        let Self { line: row, text, .. } = self;
        (!text.is_empty()).then_some(Example { text, pair: None, label, row, id: None })
    }
}

//! CoNLL-U: dependency trees, ten columns a word.
//!
//! The text is the sentence as it was written: `# text` where it stands, else the words with `SpaceAfter=No` honoured.
//! Empty nodes and enhanced relations are left out.
//!
//! Reference: <https://universaldependencies.org/format.html>.

use std::ops::Range;

use super::faults::{Faults, shown};
use super::lines::{Lines, bare};
use super::source::Source;
use crate::dataset::{Dataset, Example, Label, Node, TaggedWord};
use crate::report::{ChosenColumn, ReadReport};
use crate::{Error, Format, ReadOptions, Result, Task};

/// The columns.
const COLUMNS: [&str; 10] =
    ["id", "form", "lemma", "upos", "xpos", "feats", "head", "deprel", "deps", "misc"];

/// Those that tag words.
const TAGS: [&str; 5] = ["lemma", "upos", "xpos", "feats", "deprel"];

pub(super) fn read(source: &Source, options: &ReadOptions) -> Result<Dataset> {
    let path = source.path();
    let column = tag_column(source, options)?;
    let mut lines = Lines::new(source.open()?, path, options.max_record_bytes);
    let mut faults = Faults::new(path);
    let mut examples = Vec::new();
    let mut sentence = Sentence::default();
    let mut seen = Seen::default();
    loop {
        let number = lines.line() + 1;
        let line = lines.next()?.map(bare);
        let Some(line) = line.filter(|line| !line.trim().is_empty()) else {
            let over = line.is_none();
            let sentence = std::mem::take(&mut sentence);
            if !sentence.rows.is_empty() {
                seen.sentences += 1;
                examples.extend(sentence.finish(options.task, &mut faults, &mut seen));
            }
            if over {
                break;
            }
            continue;
        };
        sentence.bytes += line.len();
        if sentence.bytes > options.max_record_bytes {
            let limit = options.max_record_bytes;
            return Err(Error::RecordTooLong { path: path.into(), line: sentence.line.max(1), limit });
        }
        if let Some(comment) = line.strip_prefix('#') {
            sentence.comment(comment);
            continue;
        }
        let fields: Vec<&str> = line.split('\t').collect();
        let Ok(fields) = <[&str; 10]>::try_from(fields) else {
            let got = format!("{}: {}", line.split('\t').count(), shown(line));
            let way_out = "correct the line; columns of other files are read with the format conll";
            faults.add(format_args!("line {number}"), "10 columns with tabs between them", got, way_out);
            sentence.broken = true;
            continue;
        };
        if let Err((expected, got)) = sentence.push(number, &fields, column, &mut seen) {
            faults.add(format_args!("line {number}"), expected, got, "correct the line");
            sentence.broken = true;
        }
    }
    faults.finish()?;
    if examples.is_empty() {
        return Err(Error::Empty { path: path.into(), what: "there is no sentence in the file".into() });
    }
    let name = COLUMNS[column];
    if options.task == Task::Tags && seen.tagged == 0 {
        return Err(Error::MissingLabel {
            path: path.into(),
            column: name.into(),
            first: examples.iter().take(5).map(|example| example.row).collect(),
            count: examples.len(),
            rows: examples.len(),
        });
    }
    let chosen = |name: &str, why: &str| ChosenColumn { name: name.into(), why: why.into() };
    let label = match options.task {
        Task::Tags => {
            let why = if options.label.is_empty() { "the usual one" } else { "as said" };
            vec![chosen(name, why)]
        }
        Task::Trees => ["upos", "head", "deprel"].map(|name| chosen(name, "by the format")).into(),
        _ => Vec::new(),
    };
    let report = ReadReport {
        path: path.into(),
        format: Format::Conllu,
        text: chosen("text", "as it was written"),
        pair: None,
        label,
        rows_read: seen.sentences,
        skipped: Vec::new(),
        notes: seen.notes(options.task),
    };
    Ok(Dataset { examples, report, files: Vec::new(), pictures: false })
}

/// True when the sample has lines of ten columns that begin with a number.
pub(super) fn looks_so(sample: &[u8]) -> bool {
    let text = String::from_utf8_lossy(sample);
    let text = text.trim_start_matches('\u{feff}');
    let mut words = text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#'));
    words
        .next()
        .is_some_and(|line| line.split('\t').count() == 10 && line.starts_with(|c: char| c.is_ascii_digit()))
}

/// The column whose values are the tags.
fn tag_column(source: &Source, options: &ReadOptions) -> Result<usize> {
    let [wanted] = options.label.as_slice() else { return Ok(3) };
    let wanted_low = wanted.to_ascii_lowercase();
    let number = wanted.parse::<usize>().ok().and_then(|number| number.checked_sub(1));
    let named = COLUMNS.iter().position(|name| *name == wanted_low).or(number);
    named.filter(|&at| COLUMNS.get(at).is_some_and(|name| TAGS.contains(name))).ok_or_else(|| {
        Error::MissingColumn {
            path: source.path().into(),
            role: "label",
            wanted: wanted.clone(),
            columns: TAGS.map(String::from).into(),
            suggestion: crate::error::nearest(wanted, TAGS),
        }
    })
}

/// What was met on the way.
#[derive(Default)]
struct Seen {
    sentences: usize,
    /// Words whose tag is there.
    tagged: usize,
    contractions: usize,
    /// Contractions that are no words one after the other.
    joined: usize,
    empty_nodes: usize,
    several_roots: usize,
}

impl Seen {
    fn notes(&self, task: Task) -> Vec<String> {
        let mut notes = Vec::new();
        if self.contractions > 0 {
            notes.push(format!("{} contractions of several words", self.contractions));
        }
        if self.joined > 0 {
            notes.push(format!(
                "{} of them are not their words one after the other: each is one word, its tags joined by \"+\"",
                self.joined
            ));
        }
        if self.empty_nodes > 0 {
            notes.push(format!("{} empty nodes left out", self.empty_nodes));
        }
        if self.several_roots > 0 && task == Task::Trees {
            notes.push(format!("{} sentences have more than one root", self.several_roots));
        }
        notes
    }
}

/// A word of the sentence.
struct Row {
    line: usize,
    form: String,
    tag: String,
    upos: String,
    head: String,
    relation: String,
}

/// What stands in the text: one word, or a contraction of several.
struct Surface {
    form: String,
    /// The number of the first word, from 0.
    first: usize,
    /// The word after the last.
    end: usize,
    space_after: bool,
}

impl Surface {
    /// Where its words stand, if it is written as they are one after the other (`don't` as `do` and `n't`).
    fn parts<'a>(
        &self,
        rows: &'a [Row],
        range: &Range<usize>,
    ) -> Option<impl Iterator<Item = Range<usize>> + 'a> {
        let mut rest = self.form.as_str();
        for row in rows.iter().filter(|_| rows.len() > 1) {
            rest = rest.strip_prefix(row.form.as_str())?;
        }
        if rows.len() > 1 && !rest.is_empty() {
            return None;
        }
        let (first, last) = (range.start, range.end);
        Some(rows.iter().scan(first, move |at, row| {
            let start = *at;
            *at = if rows.len() == 1 { last } else { start + row.form.len() };
            Some(start..*at)
        }))
    }
}

/// The text of a sentence, and where each word or contraction stands in it.
type Placed = (String, Vec<Range<usize>>);

#[derive(Default)]
struct Sentence {
    /// The first line of a word.
    line: usize,
    bytes: usize,
    id: Option<String>,
    text: Option<String>,
    rows: Vec<Row>,
    surfaces: Vec<Surface>,
    broken: bool,
}

impl Sentence {
    fn comment(&mut self, comment: &str) {
        let Some((key, value)) = comment.split_once('=') else { return };
        match key.trim() {
            "sent_id" => self.id = Some(value.trim().to_string()),
            "text" => self.text = Some(value.trim().to_string()),
            _ => {}
        }
    }

    /// Takes a line; gives what was expected and what stands there if it is wrong.
    fn push(
        &mut self,
        line: usize,
        fields: &[&str; 10],
        column: usize,
        seen: &mut Seen,
    ) -> std::result::Result<(), (String, String)> {
        let [id, form, _, upos, _, _, head, relation, _, misc] = fields;
        if self.line == 0 {
            self.line = line;
        }
        if let Some(column) = fields.iter().position(|field| field.trim().is_empty()) {
            let name = COLUMNS[column];
            return Err((format!("a value, or _ for none, in column {name}"), "nothing".into()));
        }
        if id.contains('.') {
            seen.empty_nodes += 1;
            return Ok(());
        }
        let space_after = !misc.split('|').any(|entry| entry == "SpaceAfter=No");
        let next = self.rows.len() + 1;
        if let Some((first, last)) = id.split_once('-') {
            let range = first.parse().ok().zip(last.parse::<usize>().ok());
            let pending = self.surfaces.last().is_some_and(|surface| surface.end >= next);
            return match range {
                Some((first, last)) if first == next && last > first && !pending => {
                    self.surfaces.push(Surface {
                        form: form.to_string(),
                        first: first - 1,
                        end: last,
                        space_after,
                    });
                    seen.contractions += 1;
                    Ok(())
                }
                _ => Err((format!("a contraction that begins with word {next}"), shown(id))),
            };
        }
        if id.parse() != Ok(next) {
            return Err((format!("word {next}"), shown(id)));
        }
        if self.surfaces.last().is_none_or(|surface| surface.end < next) {
            self.surfaces.push(Surface { form: form.to_string(), first: next - 1, end: next, space_after });
        }
        let tag = fields[column];
        seen.tagged += usize::from(tag != "_");
        self.rows.push(Row {
            line,
            form: form.to_string(),
            tag: tag.to_string(),
            upos: upos.to_string(),
            head: head.to_string(),
            relation: relation.to_string(),
        });
        Ok(())
    }

    fn finish(mut self, task: Task, faults: &mut Faults<'_>, seen: &mut Seen) -> Option<Example> {
        if self.broken {
            return None;
        }
        let place = format!(
            "line {}{}",
            self.line,
            self.id.as_ref().map(|id| format!(" ({id})")).unwrap_or_default()
        );
        if let Some(surface) = self.surfaces.last()
            && surface.end > self.rows.len()
        {
            let expected = format!("{} words", surface.end);
            let got = format!("{} at the end of the sentence", self.rows.len());
            faults.add(place, expected, got, format!("complete the contraction {}", shown(&surface.form)));
            return None;
        }
        let (text, ranges) = match self.place_words() {
            Ok(placed) => placed,
            Err((form, text)) => {
                let way_out = "correct the comment, or remove it to have the text made from the words";
                faults.add(place, format!("the words in the comment # text, next {form}"), text, way_out);
                return None;
            }
        };
        let label = match task {
            Task::Tags => {
                let mut words = Vec::with_capacity(self.rows.len());
                for (surface, range) in self.surfaces.iter().zip(&ranges) {
                    let rows = &self.rows[surface.first..surface.end];
                    match surface.parts(rows, range) {
                        Some(parts) => words.extend(parts.zip(rows).map(|(part, row)| TaggedWord {
                            start: part.start,
                            end: part.end,
                            tag: row.tag.clone(),
                        })),
                        None => {
                            let tags: Vec<&str> = rows.iter().map(|row| row.tag.as_str()).collect();
                            let tag = tags.join("+");
                            words.push(TaggedWord { start: range.start, end: range.end, tag });
                            seen.joined += 1;
                        }
                    }
                }
                Some(Label::Words(words))
            }
            Task::Trees => {
                let mut nodes = Vec::with_capacity(self.rows.len());
                for (surface, range) in self.surfaces.iter().zip(&ranges) {
                    let rows = &self.rows[surface.first..surface.end];
                    let mut parts = surface.parts(rows, range);
                    for row in rows {
                        let Ok(head) = row.head.parse() else {
                            let way_out = "give the word a head, or read the file with the task tags";
                            let place = format_args!("line {}", row.line);
                            faults.add(place, "the number of the head", shown(&row.head), way_out);
                            return None;
                        };
                        let part = parts.as_mut().and_then(Iterator::next).unwrap_or_else(|| range.clone());
                        let (tag, relation) = (row.upos.clone(), row.relation.clone());
                        nodes.push(Node { start: part.start, end: part.end, tag, head, relation });
                    }
                }
                if let Some((expected, got)) = not_a_tree(&nodes, seen) {
                    faults.add(place, expected, got, "correct the column head");
                    return None;
                }
                Some(Label::Tree(nodes))
            }
            _ => None,
        };
        Some(Example { text, pair: None, label, row: self.line, id: self.id })
    }

    /// The text and where each word or contraction stands in it; else the word that is not where it should be and what
    /// is there.
    fn place_words(&mut self) -> std::result::Result<Placed, (String, String)> {
        let Some(text) = self.text.take() else {
            let mut text = String::new();
            let mut ranges = Vec::with_capacity(self.surfaces.len());
            for (at, surface) in self.surfaces.iter().enumerate() {
                let start = text.len();
                text.push_str(&surface.form);
                ranges.push(start..text.len());
                if surface.space_after && at + 1 < self.surfaces.len() {
                    text.push(' ');
                }
            }
            return Ok((text, ranges));
        };
        let mut ranges = Vec::with_capacity(self.surfaces.len());
        let mut at = 0;
        for surface in &self.surfaces {
            let rest = &text[at..];
            let start = at + (rest.len() - rest.trim_start().len());
            if !text[start..].starts_with(&surface.form) {
                return Err((shown(&surface.form), shown(&text[start..])));
            }
            at = start + surface.form.len();
            ranges.push(start..at);
        }
        match text[at..].trim() {
            "" => Ok((text, ranges)),
            rest => Err(("the end".into(), shown(rest))),
        }
    }
}

/// What is wrong with the heads: one beside the sentence, no root, a word that hangs on itself.
fn not_a_tree(nodes: &[Node], seen: &mut Seen) -> Option<(String, String)> {
    let words = nodes.len();
    if let Some(at) = nodes.iter().position(|node| node.head > words) {
        return Some((format!("heads from 0 to {words}"), format!("{} for word {}", nodes[at].head, at + 1)));
    }
    // 0 for not looked at, 1 for on the way, 2 for hanging on the root.
    let mut state = vec![0u8; words + 1];
    state[0] = 2;
    for word in 1..=words {
        let mut path = Vec::new();
        let mut at = word;
        while state[at] == 0 {
            state[at] = 1;
            path.push(at);
            at = nodes[at - 1].head;
        }
        if state[at] == 1 {
            return Some(("a tree".into(), format!("a circle through word {at}")));
        }
        path.into_iter().for_each(|at| state[at] = 2);
    }
    let roots = nodes.iter().filter(|node| node.head == 0).count();
    seen.several_roots += usize::from(roots > 1);
    None
}

//! Texts for tokenizers, messages for chat templates, options for tables.

use std::ops::Range;

use topwork_data::{Dataset, Example, Label, ReadOptions, Task};
use topwork_text::{ChatTemplate, Message, Tokenizer};

/// Texts that reach every table of a tokenizer.
pub const TEXTS: [&str; 5] = [
    "the old tree's 12 rings",
    "\u{ff21}\u{bd}\u{2460}\u{fb01} e\u{301}\u{1}\u{4e2d}\u{200b}x",
    "",
    "\u{1f642} \u{430}\u{3000}\u{431} ",
    "<s> [SEP] </w>",
];

/// Encodes texts and pairs, whole and cut, and decodes them.
pub fn encode_all(tokenizer: &Tokenizer) {
    let limit = tokenizer.id_limit();
    for text in TEXTS {
        for (pair, most) in [(None, None), (Some(TEXTS[0]), None), (None, Some(4))] {
            let Ok(encoding) = tokenizer.encode(text, pair, most) else { continue };
            assert!(encoding.ids.iter().all(|&id| (id as usize) < limit), "{:?} of {limit}", encoding.ids);
            let _ = tokenizer.decode(&encoding.ids, false);
            let _ = tokenizer.decode(&encoding.ids, true);
        }
    }
    let _ = (
        tokenizer.vocab_size(),
        tokenizer.added_tokens(true),
        tokenizer.notes(),
        tokenizer.stated_max_length(),
    );
}

/// Renders a conversation.
pub fn chat(template: &ChatTemplate) {
    let messages = [
        Message::new("system", " Be brief.\n"),
        Message::new("user", "a \"q\" <b>"),
        Message::new("assistant", "c"),
    ];
    let _ = template.render(&messages, true, Some("<s>"), None);
    let _ = template.render(&messages[1..2], false, None, Some("</s>"));
}

/// Reads a table for each task.
pub fn rows(read: impl Fn(&ReadOptions) -> topwork_data::Result<Dataset>) {
    for (_, task) in Task::ALL {
        if let Ok(dataset) = read(&ReadOptions { task, ..ReadOptions::default() }) {
            assert!(!dataset.is_empty());
            assert!(dataset.examples.iter().all(sound));
            let _ = (dataset.report.lines(), dataset.label_counts());
            topwork_data::tags::convert(&mut dataset.clone(), None);
        }
    }
}

/// Whether what a label points to is there.
fn sound(example: &Example) -> bool {
    let within = |start: usize, end: usize| example.text.get(start..end).is_some_and(|word| !word.is_empty());
    match &example.label {
        Some(Label::Words(words)) => words.iter().all(|word| within(word.start, word.end)),
        Some(Label::Tree(nodes)) => {
            nodes.iter().all(|node| within(node.start, node.end) && node.head <= nodes.len())
        }
        Some(Label::Answers(answers)) => answers.iter().all(|answer| {
            let passage = example.pair.as_deref().unwrap_or_default();
            passage.get(answer.start..).is_some_and(|rest| rest.starts_with(&answer.text))
        }),
        Some(Label::Choice { options, right }) => *right < options.len(),
        Some(Label::Related(related)) => {
            let second = example.pair.as_deref().unwrap_or(&example.text);
            let there = |text: &str, span: &Range<usize>| text.get(span.clone()).is_some();
            there(&example.text, &related.spans[0]) && there(second, &related.spans[1])
        }
        Some(Label::Exchange(exchange)) => {
            exchange.right < exchange.candidates.len() && exchange.history.last() == Some(&example.text)
        }
        Some(Label::One(_) | Label::Many(_) | Label::Score(_) | Label::Text(_)) | None => true,
    }
}

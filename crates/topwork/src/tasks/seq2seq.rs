//! Sequence to sequence: a text for a text, as in translation and summaries.
//!
//! Papers: Sutskever et al. 2014, "Sequence to Sequence Learning with Neural Networks", <https://arxiv.org/abs/1409.3215>; Raffel et al. 2020,
//! "Exploring the Limits of Transfer Learning with a Unified Text-to-Text Transformer", section 2.4,
//! <https://arxiv.org/abs/1910.10683>

use topwork_data::{Dataset, Example, Inputs, Label, Labels, Ragged};
use topwork_models::generate::{self, Beam, Choice};
use topwork_models::{HeadSpec, Source};
use topwork_text::Packed;
use topwork_train::metrics::Task as MetricTask;

use super::{Encode, LanguageTask, Measured, Part, Run, Units};
use crate::error::Error;
use crate::prepare::Prepared;
use crate::recipe::{Kind, TaskRecipe};
use crate::report::Mistakes;

/// Longest target in tokens when nothing is said.
pub const TARGET: usize = 128;
/// Texts written at once.
const TOGETHER: usize = 32;

/// The entry in the list.
pub const SEQ2SEQ: Seq2Seq = Seq2Seq;

/// A text for a text.
pub struct Seq2Seq;

impl LanguageTask for Seq2Seq {
    fn kind(&self) -> Kind {
        Kind::Seq2Seq
    }

    fn title(&self) -> &'static str {
        "Sequence to sequence"
    }

    fn summary(&self) -> &'static str {
        "a text for a text: translation, summaries"
    }

    fn paper(&self) -> &'static str {
        "https://arxiv.org/abs/1910.10683"
    }

    fn in_python(&self, folder: &str) -> String {
        format!(
            "from transformers import pipeline\n\nprint(pipeline(\"text2text-generation\", {folder:?})(\"some text\"))\n"
        )
    }

    fn measures(&self) -> MetricTask {
        MetricTask::Texts
    }

    fn reader(&self) -> topwork_data::Task {
        topwork_data::Task::Texts
    }

    fn encode(&self, dataset: Dataset, encode: &Encode) -> Result<Part, Error> {
        let mut inputs = Inputs::of_texts(&dataset, encode.tokenizer, encode.max_length)?;
        let mut targets: Vec<&str> = Vec::with_capacity(dataset.len());
        for (at, example) in dataset.examples.iter().enumerate() {
            let Some(Label::Text(target)) = &example.label else {
                return Err(Error::Task(format!("{}: no text to be written", dataset.place(at))));
            };
            targets.push(target);
        }
        let most = encode.max_length.map(|_| encode.task.max_target.unwrap_or(TARGET));
        let tokenizer = encode.targets.unwrap_or(encode.tokenizer);
        let encodings = tokenizer.encode_batch(&targets, most)?;
        let start = topwork_models::joined::start(&Source::find(encode.model)?)?;
        let mut ids = Ragged::new();
        for mut encoding in encodings {
            inputs.count_cut(encoding.cut);
            // A tokenizer that puts there what the target is read from anyway would teach the model to write it once more, and
            // then, before it knows better, for ever.
            if encoding.ids.len() > 1 && encoding.ids.first().copied() == start {
                encoding.ids.remove(0);
            }
            ids.push(encoding.ids);
        }
        inputs.labels = Labels::Texts(ids);
        Ok(Part { dataset, inputs, units: Units::Examples })
    }

    fn head(&self, _: &TaskRecipe, _: &[String]) -> HeadSpec {
        HeadSpec::Seq2Seq
    }

    fn default_metric(&self, _: &Prepared) -> &'static str {
        "perplexity"
    }

    fn measure(&self, run: &Run, part: &Part) -> Result<Measured, Error> {
        let (mut sums, loss) = run.costs(self, part, None)?;
        let mut written = Vec::new();
        if run.judge.writes {
            written = write(run, part)?;
            let truth: Vec<[&str; 1]> =
                part.dataset.examples.iter().map(|example| [target(example)]).collect();
            sums.splice(0..0, topwork_train::metrics::texts(&truth, &written)?);
        }
        let mut measured = Measured::of_sums(MetricTask::Texts, sums, Vec::new(), &run.judge, Some(loss))?;
        measured.texts = written;
        Ok(measured)
    }

    fn mistakes(&self, measured: &Measured, data: &Prepared) -> Option<Mistakes> {
        Some(measured.wrong_texts("exact-match", &data.test.dataset, |text| text, target))
    }

    fn how_to_use(&self, folder: &str) -> String {
        format!("topwork generate {folder} \"some text\"")
    }
}

/// The text that is to be written.
fn target(example: &Example) -> &str {
    match &example.label {
        Some(Label::Text(target)) => target,
        _ => "",
    }
}

/// What the model writes for each text.
fn write(run: &Run, part: &Part) -> Result<Vec<String>, Error> {
    let stated = generate::Options::of_config(&run.model.config)?;
    let choice = match run.judge.beams {
        0 | 1 => Choice::Greedy,
        beams => Choice::Beam(Beam { beams, length_penalty: 1.0, early_stopping: false }),
    };
    let longest = match &part.inputs.labels {
        Labels::Texts(ids) => (0..ids.len()).map(|at| ids.of(at).len()).max().unwrap_or(TARGET),
        _ => TARGET,
    };
    // Room for an answer that is longer than any right one, not for one without end.
    let options =
        generate::Options { max_new: longest + longest / 2, choice, precision: run.precision, ..stated };
    let all: Vec<usize> = (0..part.inputs.len()).collect();
    let mut texts = Vec::with_capacity(all.len());
    for some in all.chunks(TOGETHER) {
        let packed: Packed = part.inputs.packed.select(some);
        for continuation in generate::generate(run.model, &packed, &options, &mut |_, _| true)? {
            texts.push(run.tokenizer.decode(&continuation.ids, true)?.trim().to_string());
        }
    }
    Ok(texts)
}

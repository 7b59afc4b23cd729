//! Multiple choice: which of several texts goes with a text.
//!
//! Paper: Zellers et al. 2018, "SWAG", section 5, <https://arxiv.org/abs/1808.05326>; Devlin et al. 2019, "BERT", section 4.4,
//! <https://arxiv.org/abs/1810.04805>

use topwork_data::{Dataset, Inputs, Label, Labels};
use topwork_models::HeadSpec;
use topwork_text::Input;
use topwork_train::metrics::{Task as MetricTask, choices};

use super::{Encode, LanguageTask, Measured, Part, Run, Units};
use crate::error::Error;
use crate::prepare::Prepared;
use crate::recipe::{Kind, TaskRecipe};
use crate::report::Mistakes;
use crate::scoring::first_greatest;

/// The entry in the list.
pub const CHOICE: Choice = Choice;

/// Which of several texts goes with a text.
pub struct Choice;

impl LanguageTask for Choice {
    fn kind(&self) -> Kind {
        Kind::MultipleChoice
    }

    fn title(&self) -> &'static str {
        "Multiple choice"
    }

    fn summary(&self) -> &'static str {
        "which of several texts goes with a text"
    }

    fn paper(&self) -> &'static str {
        "https://arxiv.org/abs/1808.05326"
    }

    fn in_python(&self, folder: &str) -> String {
        format!(
            "import torch\nfrom transformers import AutoModelForMultipleChoice, AutoTokenizer\n\n\
             tokenizer = AutoTokenizer.from_pretrained({folder:?})\n\
             model = AutoModelForMultipleChoice.from_pretrained({folder:?}).eval()\n\
             options = [\"one\", \"another\"]\n\
             inputs = tokenizer([\"some text\"] * len(options), options, return_tensors=\"pt\", padding=True)\n\
             with torch.no_grad():\n    \
                 print(model(**{{k: v.unsqueeze(0) for k, v in inputs.items()}}).logits.softmax(-1))\n"
        )
    }

    fn measures(&self) -> MetricTask {
        MetricTask::Choices
    }

    fn reader(&self) -> topwork_data::Task {
        topwork_data::Task::Choice
    }

    fn encode(&self, dataset: Dataset, encode: &Encode) -> Result<Part, Error> {
        let mut texts: Vec<Input> = Vec::new();
        let (mut offsets, mut right, mut rows) = (vec![0], Vec::new(), Vec::new());
        for (at, example) in dataset.examples.iter().enumerate() {
            let Some(Label::Choice { options, right: number }) = &example.label else {
                return Err(Error::Task(format!("{}: no options to choose from", dataset.place(at))));
            };
            texts.extend(options.iter().map(|option| Input { text: &example.text, pair: Some(option) }));
            offsets.push(texts.len() as u32);
            right.push(*number as u32);
            rows.extend(std::iter::repeat_n(example.row, options.len()));
        }
        let encodings = encode.tokenizer.encode_batch(&texts, encode.max_length)?;
        let mut inputs = Inputs { labels: Labels::None(texts.len()), ..Inputs::empty() };
        for (encoding, row) in encodings.iter().zip(rows) {
            inputs.push(encoding, row);
        }
        Ok(Part { dataset, inputs, units: Units::Choices { offsets, right } })
    }

    fn head(&self, _: &TaskRecipe, _: &[String]) -> HeadSpec {
        HeadSpec::MultipleChoice
    }

    fn default_metric(&self, _: &Prepared) -> &'static str {
        "accuracy"
    }

    fn measure(&self, run: &Run, part: &Part) -> Result<Measured, Error> {
        let outputs = run.outputs(part)?;
        let Units::Choices { offsets, right } = &part.units else {
            return Err(Error::Task("there are no options to choose from".to_string()));
        };
        let chosen = chosen(offsets, &outputs.values);
        let scores: Vec<&[f32]> =
            offsets.windows(2).map(|pair| &outputs.values[pair[0] as usize..pair[1] as usize]).collect();
        let sums = choices(right, &scores)?;
        let mut measured =
            Measured::of_sums(MetricTask::Choices, sums, Vec::new(), &run.judge, outputs.loss)?;
        let options = |at: usize| match &part.dataset.examples[at].label {
            Some(Label::Choice { options, .. }) => options[chosen[at]].clone(),
            _ => String::new(),
        };
        measured.texts = (0..chosen.len()).map(options).collect();
        Ok(measured)
    }

    fn how_to_use(&self, folder: &str) -> String {
        format!("topwork eval {folder} --data questions.jsonl")
    }

    fn mistakes(&self, measured: &Measured, data: &Prepared) -> Option<Mistakes> {
        Some(measured.wrong_texts(
            "accuracy",
            &data.test.dataset,
            |answer| answer,
            |example| match &example.label {
                Some(Label::Choice { options, right }) => &options[*right],
                _ => "",
            },
        ))
    }
}

/// The option with the highest score of each question, the first of equals.
pub(crate) fn chosen(offsets: &[u32], scores: &[f32]) -> Vec<usize> {
    offsets.windows(2).map(|pair| first_greatest(&scores[pair[0] as usize..pair[1] as usize])).collect()
}

//! Which of several texts is the right one: a score for each text, softmax over the texts of a question. A question and one of
//! its answers make a text, as a rule a pair; questions may have different numbers of them.
//!
//! Paper: Radford et al. 2018, "Improving Language Understanding by Generative Pre-Training", section 3.3 (one text a possible
//! answer, a softmax over them),
//! <https://cdn.openai.com/research-covers/language-unsupervised/language_understanding_paper.pdf>

use std::sync::Arc;

use burn::tensor::Tensor;
use topwork_kernels::pool::Pool;
use topwork_nn::loss::cross_entropy;
use topwork_nn::{ParamStore, Pass};
use topwork_text::Packed;

use crate::error::Error;
use crate::family::Encoder;
use crate::head::{Head, HeadEntry, HeadSpec, LossOptions, Targets};
use crate::heads::pooled::RowOutputs;
use crate::onnx::HeadGraph;

/// The entry in the list.
pub const ENTRY: HeadEntry = HeadEntry {
    name: "multiple-choice",
    summary: "the right one of several texts",
    paper: "https://cdn.openai.com/research-covers/language-unsupervised/language_understanding_paper.pdf",
    build,
};

struct MultipleChoice(RowOutputs);

fn build(_: &HeadSpec, encoder: &dyn Encoder, store: &mut ParamStore) -> Result<Box<dyn Head>, Error> {
    Ok(Box::new(MultipleChoice(RowOutputs::declare(store, encoder, encoder.chooser(), 1))))
}

impl Head for MultipleChoice {
    fn pooled(&self) -> Option<Pool> {
        Some(self.0.pool())
    }

    fn onnx(&self) -> Option<&dyn HeadGraph> {
        Some(&self.0)
    }

    fn forward(&self, pass: &Pass, x: Tensor<2>, _: &Packed) -> Result<Tensor<2>, Error> {
        self.0.forward(pass, x)
    }

    fn loss(
        &self,
        pass: &Pass,
        x: Tensor<2>,
        input: &Packed,
        targets: &Targets,
        options: &LossOptions,
    ) -> Result<Tensor<1>, Error> {
        let Targets::Choices { right, questions } = targets else {
            return Err(Error::Targets { head: ENTRY.name, expected: "choices", got: targets.kind() });
        };
        choice_loss(&self.forward(pass, x, input)?, right, questions, options.smoothing)
    }
}

/// The mean over questions of the cross-entropy of their texts' scores.
///
/// # Shapes
/// - `scores`: `[batch, 1]`, one a text; `right`: `[questions]`, counted within the question; `questions`: `[questions + 1]`, where
///   each question's texts begin
/// - returns: `[1]`
///
/// # Errors
/// [`Error::Choices`] for questions that do not cover the texts, and for a right text that its question does not have.
pub fn choice_loss(
    scores: &Tensor<2>,
    right: &[u32],
    questions: &[u32],
    smoothing: f32,
) -> Result<Tensor<1>, Error> {
    let [texts, _] = scores.dims();
    check(texts, right, questions)?;
    // Questions with as many texts each go through the loss together, so that no score is made up to fill a row.
    let mut counts: Vec<u32> = questions.windows(2).map(|pair| pair[1] - pair[0]).collect();
    counts.sort_unstable();
    counts.dedup();
    let mut sum: Option<Tensor<1>> = None;
    for count in counts {
        let chosen: Vec<usize> =
            (0..right.len()).filter(|&q| questions[q + 1] - questions[q] == count).collect();
        let rows: Arc<[u32]> = chosen.iter().flat_map(|&q| questions[q]..questions[q + 1]).collect();
        let target: Arc<[u32]> = chosen.iter().map(|&q| right[q]).collect();
        let grouped = topwork_ops::embedding(scores.clone(), &rows).reshape([chosen.len(), count as usize]);
        let share = chosen.len() as f32 / right.len() as f32;
        let loss = cross_entropy(grouped, &target, None, smoothing);
        let loss = if chosen.len() == right.len() { loss } else { loss * share };
        sum = Some(match sum {
            None => loss,
            Some(sum) => sum + loss,
        });
    }
    sum.ok_or(Error::Choices {
        question: 0,
        expected: "at least one question".to_string(),
        got: "none".to_string(),
    })
}

/// Stops what would read a text that is not there.
fn check(texts: usize, right: &[u32], questions: &[u32]) -> Result<(), Error> {
    let wrong =
        |question: usize, expected: String, got: String| Err(Error::Choices { question, expected, got });
    if questions.len() != right.len() + 1 {
        let got = format!("{} places where one begins or ends", questions.len());
        return wrong(right.len(), format!("{} questions, as many as answers", right.len()), got);
    }
    if questions[0] != 0 || questions[right.len()] as usize != texts {
        let got = format!("{} to {}", questions[0], questions[right.len()]);
        return wrong(0, format!("questions that cover the texts, 0 to {texts}"), got);
    }
    for (question, pair) in questions.windows(2).enumerate() {
        if pair[1] <= pair[0] {
            return wrong(question, "at least one text".to_string(), format!("{} to {}", pair[0], pair[1]));
        }
        let count = pair[1] - pair[0];
        if right[question] >= count {
            let expected = format!("the right text below {count}, as many as the question has");
            return wrong(question, expected, right[question].to_string());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    /// The loss written out.
    fn by_hand(scores: &[f64], right: &[u32], questions: &[u32], smoothing: f64) -> f64 {
        let mut sum = 0.0;
        for (q, pair) in questions.windows(2).enumerate() {
            let own = &scores[pair[0] as usize..pair[1] as usize];
            let total = own.iter().map(|s| s.exp()).sum::<f64>().ln();
            let uniform = own.iter().map(|s| total - s).sum::<f64>() / own.len() as f64;
            sum += (1.0 - smoothing) * (total - own[right[q] as usize]) + smoothing * uniform;
        }
        sum / right.len() as f64
    }

    #[test]
    fn questions_of_different_sizes_count_alike() {
        let scores = [0.5f32, -1.0, 2.0, 0.25, 3.0, -0.75, 1.5, 0.0, -2.0];
        let wide: Vec<f64> = scores.iter().map(|&s| f64::from(s)).collect();
        let tensor = Tensor::<1>::from_floats(scores, &Device::flex()).reshape([9, 1]);
        for (right, questions) in [
            (vec![1, 0, 2], vec![0, 3, 6, 9]),
            (vec![1, 3, 2], vec![0, 2, 6, 9]),
            (vec![0, 0], vec![0, 1, 9]),
        ] {
            for smoothing in [0.0, 0.1] {
                let got = choice_loss(&tensor, &right, &questions, smoothing).unwrap().into_scalar::<f32>();
                let expected = by_hand(&wide, &right, &questions, f64::from(smoothing));
                assert!((f64::from(got) - expected).abs() < 1e-6, "{questions:?}: {got} against {expected}");
            }
        }
    }

    #[test]
    fn choices_that_are_not_there_are_refused() {
        let tensor = Tensor::<2>::zeros([4, 1], &Device::flex());
        let refuse = |right: &[u32], questions: &[u32], part: &str| {
            let error = choice_loss(&tensor, right, questions, 0.0).err().unwrap().to_string();
            assert!(error.contains(part), "{error}");
        };
        refuse(&[0, 2], &[0, 2, 4], "question 1: expected the right text below 2");
        refuse(&[0, 0], &[0, 2, 5], "0 to 5");
        refuse(&[0, 0], &[0, 4, 4], "question 1: expected at least one text");
        refuse(&[0], &[0, 2, 4], "1 questions");
        refuse(&[], &[0], "cover the texts");
    }
}
